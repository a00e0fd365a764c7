"""Output of a search: the terminal, TensorBoard and plots."""
