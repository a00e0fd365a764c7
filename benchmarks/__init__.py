"""Each module is one command that prints a ratio measured in one run: `python -m benchmarks.NAME`."""
