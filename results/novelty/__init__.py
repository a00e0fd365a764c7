"""Novelty: how unlike the training images an image is, as a p-value with a stated share of false alarms."""
