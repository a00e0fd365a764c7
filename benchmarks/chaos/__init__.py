"""Faults of all kinds, injected into searches that are then resumed and looked through: `make chaos`."""
