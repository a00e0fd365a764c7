"""Images, labels, patients, splits and views."""
