"""Errors, file writing and array types that every package uses."""
