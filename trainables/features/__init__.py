"""Store of frozen features: keys, files, extraction, sharing between nodes, and batches for training."""
