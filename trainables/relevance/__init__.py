"""Relevance maps by gradients and units of a net, and the images that a net prefers; all need PyTorch."""
