"""The mammogram made ready: one declared pipeline, the same code for preparing and for predicting."""
