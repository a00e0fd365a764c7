"""Heads that are fitted in one go: from rows of features to arrays that a torch module predicts with.

Every `Estimator` that a module of `kinds` defines is in the registry. Fitting needs numpy and scikit-learn;
torch is imported by `modules` alone, so that the names are known to programs that start without it.
"""
