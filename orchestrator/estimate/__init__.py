"""The cost of a search before it runs: `orchestrate plan`."""
