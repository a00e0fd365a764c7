"""Backbones as lists of stages, heads, and pretrained weights."""
