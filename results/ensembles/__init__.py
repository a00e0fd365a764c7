"""Ensembles: weighted and stacked, fitted on out-of-fold predictions and scored on folds they never saw."""
