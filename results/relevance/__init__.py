"""Relevance: which part of an image a prediction rests on, and how far such a map can be believed."""
