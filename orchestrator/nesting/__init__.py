"""Nested search: a whole search without each outer fold, and its score on patients that it has not seen."""
