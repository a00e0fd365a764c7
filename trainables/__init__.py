"""Library for a single trial: data, features, models, training, validation. No Ray and no Optuna."""
