"""`orchestrate`: finds the verb, runs it, turns errors into one sentence and an exit code.

Exit codes: 0 done, 1 the machine failed it (disk, permissions), 2 the request cannot be met as it is,
130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from types import MappingProxyType, ModuleType
from typing import Final

from orchestrator.cli import (
    doctor,
    ensemble,
    evaluate,
    export,
    leaderboard,
    plan,
    predict,
    prefix,
    recipes,
    refit,
    resume,
    search,
    thresholds,
)
from orchestrator.cli.signals import ended_like_ctrl_c

# Albumentations asks the network for a newer release when it is imported, unless it is told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

VERBS: Final = MappingProxyType(
    {
        "plan": plan,
        "search": search,
        "resume": resume,
        "leaderboard": leaderboard,
        "ensemble": ensemble,
        "thresholds": thresholds,
        "refit": refit,
        "evaluate": evaluate,
        "export": export,
        "predict": predict,
        "prefix": prefix,
        "recipes": recipes,
        "doctor": doctor,
    }
)

_EPILOG: Final = """\
the main job:
  orchestrate search benign_malignant --data patches.npz --trials 24 --name first
  tensorboard --logdir runs
  orchestrate leaderboard first
  orchestrate ensemble first
  orchestrate evaluate first
  orchestrate export first --out bundle/
  orchestrate predict bundle/ image.png more/*.png

Every verb has its own --help, with examples.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    verb: ModuleType = VERBS[chosen.verb]
    from trainables.common.errors import OrchestrateError

    try:
        with ended_like_ctrl_c():
            return int(verb.run(chosen))
    except OrchestrateError as error:
        print(f"orchestrate {chosen.verb}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python must not complain when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"orchestrate {chosen.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\norchestrate {chosen.verb}: interrupted", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; importing and building it takes no torch, Ray or Optuna."""
    parser = argparse.ArgumentParser(
        prog="orchestrate",
        description="Hyperparameter search, ensembles and export for breast-image classification.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, module in VERBS.items():
        verb = verbs.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(verb)
    return parser


if __name__ == "__main__":
    sys.exit(main())
