"""What came out: records, metrics, leaderboards, ensembles and exported bundles."""
