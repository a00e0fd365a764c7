"""The store of frozen-prefix features: computed once, read by every fold, epoch, trial and search."""
