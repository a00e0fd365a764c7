"""Novelty: how unlike the training images an image is, as a p-value whose false alarms are as rare as stated."""
