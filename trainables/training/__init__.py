"""Losses, optimisers and the loop that trains the folds of a trial in lockstep."""
