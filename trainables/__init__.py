"""What one trial does. Knows neither Ray nor Optuna."""
