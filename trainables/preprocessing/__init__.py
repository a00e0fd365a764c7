"""From raw pixels to the first stage: contrast, size, normalisation and augmented views."""
