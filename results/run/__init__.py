"""The plain files of one run: records, predictions, refits and ensembles on disk."""
