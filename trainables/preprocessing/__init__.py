"""Preprocessing of raw pixels for the first stage: contrast, size, normalisation and augmented views."""
