"""Configuration of a trial, tasks and augmentation policies, checked where they come in. No torch."""
