"""The command line and the search: combines the other packages, runs trials on Ray, asks Optuna for them."""
