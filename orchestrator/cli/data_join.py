"""`orchestrate data join`."""

import argparse
from pathlib import Path

from orchestrator.reporting.console import messages, print_message, print_next
from trainables.common.text import typed_path

HELP = "join prepared sets into one, in which each image knows its source"
EPILOG = """\
Sets must have images of one size, and labels of one meaning. Patients of two
collections stay apart; sets of one collection may share patients.

examples:
  orchestrate data join sets/cbis sets/ours --out sets/both
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sets and the folder of the new one."""
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET", help="folder of a prepared set")
    parser.add_argument("--out", type=Path, required=True, metavar="SET", help="folder of the new set")


def run(arguments: argparse.Namespace) -> int:
    """Join; returns the exit code."""
    from orchestrator.api.prepared_sets import join_sets

    joined = join_sets(arguments.sets, arguments.out)
    for note in joined.facts["notes"]:
        print_message(messages(), note)
    counts = {source: list(joined.table["source"]).count(source) for source in set(joined.table["source"])}
    listed = ", ".join(f"{number} of {source}" for source, number in sorted(counts.items()))
    print(f"{arguments.out}: {len(joined.images)} images, {listed}; fingerprint {joined.fingerprint[:12]}")
    print_next(messages(), "orchestrate", "search", "TASK", "--data", typed_path(arguments.out))
    return 0
