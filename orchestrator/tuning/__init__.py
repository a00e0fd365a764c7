"""The loop of a search: hands out trials, follows them and records how they ended."""
