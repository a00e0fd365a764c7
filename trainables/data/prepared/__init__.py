"""Prepared sets: what a collection lists is read, cut, made ready and written, once."""
