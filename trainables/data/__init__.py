"""Images, labels, patients and splits."""
