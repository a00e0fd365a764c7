"""Cluster files for `ray up`, and the connection of a search to Ray."""
