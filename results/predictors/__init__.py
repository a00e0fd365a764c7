"""Models of a finished run, from weights to predictions; the only room of results but export with torch."""
