"""Searches that are replayed from a table of results: hours of search in milliseconds."""
