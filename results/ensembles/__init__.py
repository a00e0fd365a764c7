"""Ensembles: weighted and stacked, fitted on out-of-fold predictions and scored on folds they never saw.

members   the candidates' predictions side by side
methods   the table of methods: average, greedy, grid, stack_logistic, stack_knn, stack_svm, stack_mlp
nested    scores of each method, and of the best single trial, by nested cross-validation
build     from a run folder to `ensembles/<method>.json`
tables    for the terminal, CSV and JSON
"""
