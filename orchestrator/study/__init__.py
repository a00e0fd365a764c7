"""The Optuna study of a search: sampler, pruner and storage. Beside it only search_spaces imports Optuna."""
