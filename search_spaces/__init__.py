"""What may vary in a search: one file per task, shared pieces beside them."""
