"""The Optuna study of a search: sampler, pruner and storage. No other room imports Optuna."""
