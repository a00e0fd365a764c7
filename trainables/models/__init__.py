"""Backbones as lists of stages, heads, and where weights come from."""
