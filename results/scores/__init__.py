"""Metrics, calibration, intervals and the leaderboard, from records and out-of-fold predictions."""
