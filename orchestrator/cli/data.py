"""`orchestrate data`: one module for each action, `data_ACTION.py`."""

import argparse
from types import MappingProxyType, ModuleType
from typing import Final

from orchestrator.cli import data_audit, data_describe

HELP = "look at a data set before it is searched"
EPILOG = """\
examples:
  orchestrate data audit patches.npz --task benign_malignant
  orchestrate data describe images/ --task benign_malignant --out images.html
"""
ACTIONS: Final = MappingProxyType({"audit": data_audit, "describe": data_describe})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, module in ACTIONS.items():
        action = actions.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=module.EPILOG,
        )
        module.add_arguments(action)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; returns the exit code."""
    action: ModuleType = ACTIONS[arguments.action]
    return int(action.run(arguments))
