"""The description of a data set: counts, histograms, sizes, samples and odd images; as JSON and as HTML."""
