"""The mammogram made ready: one declared pipeline, the same code when a set is prepared and when it is predicted."""
