"""One file per verb: parse, call, print. Errors become exit codes in `main`."""
