"""Models of a finished run, from weights to predictions; only this part of results and export use torch."""
