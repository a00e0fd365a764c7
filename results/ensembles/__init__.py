"""Ensembles: weighted and stacked, fitted on out-of-fold predictions and scored on folds they never saw.

members   the candidates' predictions side by side
methods   the table of methods: average, greedy, grid, stack_logistic, stack_knn, stack_svm, stack_mlp
nested    the score of each method, and of the best single trial, around all that is chosen or fitted
build     from a run folder to `ensembles/<method>.json`
tables    for the terminal, CSV and JSON
"""
