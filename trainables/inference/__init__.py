"""Predictions of finished trials from raw pixels; models with one backbone share its forward pass."""
