"""Work on a finished search: refits, the sealed test part and the ensembles of recipes."""
