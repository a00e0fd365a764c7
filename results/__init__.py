"""Results of a search: records, metrics, leaderboards, ensembles and exported bundles."""
