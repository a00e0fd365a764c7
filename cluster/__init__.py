"""Cluster files for `ray up`, and how a search finds or starts Ray."""
