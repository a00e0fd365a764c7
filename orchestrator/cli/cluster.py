"""`orchestrate cluster`: machines elsewhere, from the first look to the end; one module for each action."""

import argparse
from types import MappingProxyType, ModuleType
from typing import Final

from orchestrator.cli import cluster_check, cluster_down, cluster_status, cluster_up

HELP = "check, start, look at and end a cluster of machines elsewhere"
EPILOG = """\
Each action says which command of Ray it runs. The file is one that `ray up`
reads; docs/how-to-cluster.md says how to fill it in.

examples:
  orchestrate cluster check cluster/dgx.yaml
  orchestrate cluster up cluster/dgx.yaml
  orchestrate submit cluster/dgx.yaml -- search benign_malignant --trials 200
  orchestrate cluster status cluster/dgx.yaml
  orchestrate cluster down cluster/dgx.yaml
"""
ACTIONS: Final = MappingProxyType(
    {"check": cluster_check, "up": cluster_up, "status": cluster_status, "down": cluster_down}
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
