"""The command line and the search: composes what the lower rooms offer, runs it on Ray, asks Optuna."""
