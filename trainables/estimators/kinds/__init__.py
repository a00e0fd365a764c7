"""One file for each estimator. Every `Estimator` that a module of this folder defines is in the registry."""
