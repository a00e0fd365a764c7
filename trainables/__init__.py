"""The library of one trial: data, features, models, training and validation. Imports neither Ray nor Optuna."""
