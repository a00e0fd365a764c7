"""Checks before the first trial: data, split, machine and feasible models."""
