"""Tests that everything registered must pass, for this package and for those who extend it."""
