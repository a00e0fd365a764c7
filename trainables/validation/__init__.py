"""Cross-validation of one configuration, in this process or with a process for each fold."""
