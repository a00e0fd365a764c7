"""The audit of a data set: copies, parts, labels, origins and shortcuts, before any model is believed."""
