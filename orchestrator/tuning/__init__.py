"""The loop of a search: hands out trials, follows their epochs and records their results."""
