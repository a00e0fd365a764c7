"""`orchestrate data`: sets of images, from the disk to a search; one module for each action."""

import argparse
from types import MappingProxyType, ModuleType
from typing import Final

from orchestrator.cli import data_audit, data_describe, data_join, data_prepare

HELP = "prepare, join, describe and audit sets of images"
EPILOG = """\
A prepared set is one folder: images as one array, a table of what is known
about each, and its licence and provenance. Searches take it as --data SET.

examples:
  orchestrate data prepare cbis-ddsm CBIS-DDSM --out sets/cbis --regions roi
  orchestrate data prepare dicom exams --size 299x299 --out sets/ours
  orchestrate data join sets/cbis sets/ours --out sets/both
  orchestrate data describe sets/both --task benign_malignant --out both.html
  orchestrate data audit sets/both --task benign_malignant
  orchestrate search benign_malignant --data sets/both
"""
ACTIONS: Final = MappingProxyType(
    {"prepare": data_prepare, "join": data_join, "describe": data_describe, "audit": data_audit}
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, action in ACTIONS.items():
        action.add_arguments(
            actions.add_parser(
                name,
                help=action.HELP,
                description=action.HELP[0].upper() + action.HELP[1:] + ".",
                epilog=action.EPILOG,
            )
        )


def run(arguments: argparse.Namespace) -> int:
    """Run an action; returns the exit code."""
    action: ModuleType = ACTIONS[arguments.action]
    return int(action.run(arguments))
