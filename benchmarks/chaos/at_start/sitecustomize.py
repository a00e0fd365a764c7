"""Python imports this at its start where the folder is on its path, so that searches note what they train."""

from benchmarks.chaos.witness import watch

watch()
