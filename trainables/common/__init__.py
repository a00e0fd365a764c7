"""Errors, file writing and array types that every room uses."""
