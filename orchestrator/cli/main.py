"""`orchestrate`: finds the verb, runs it, turns errors into one sentence and an exit code."""

if __name__ == "__main__":  # before the imports, since Ctrl-C may come in them, and the command answers it
    import runpy

    runpy.run_module("orchestrator", run_name="__main__")  # which ends the process

import argparse
import contextlib
import gc
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

from orchestrator.cli import (
    attach,
    benefit,
    calibration,
    cluster,
    compare,
    completion,
    data,
    doctor,
    ensemble,
    evaluate,
    explain,
    export,
    fetch,
    leaderboard,
    nest,
    overtuning,
    plan,
    predict,
    prefix,
    recalibrate,
    recipes,
    refit,
    repeat,
    report,
    resume,
    search,
    status,
    stop,
    strata,
    submit,
    thresholds,
)
from orchestrator.cli.parser import Parser
from orchestrator.cli.signals import ended_like_ctrl_c
from orchestrator.reporting.console import leave_out_messages
from trainables.common.errors import INTERRUPTED

# Albumentations asks the network for a newer release when it is imported, unless it is told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for `doctor`, which imports every package by itself

_TRACEBACK: Final = "ORCHESTRATE_TRACEBACK"  # set to anything, it shows the traceback of an unexpected error
_ROOT: Final = Path(__file__).parents[2]
# Python looks for garbage whenever there are 700 more objects, which takes a fifth of the imports of a verb.
_OBJECTS_BETWEEN_COLLECTIONS: Final = 10_000
_LONGEST: Final = 400  # characters of an unexpected error's message

VERBS: Final = MappingProxyType(
    {
        "data": data,
        "plan": plan,
        "search": search,
        "resume": resume,
        "leaderboard": leaderboard,
        "ensemble": ensemble,
        "compare": compare,
        "calibration": calibration,
        "benefit": benefit,
        "thresholds": thresholds,
        "strata": strata,
        "refit": refit,
        "nest": nest,
        "repeat": repeat,
        "overtuning": overtuning,
        "evaluate": evaluate,
        "explain": explain,
        "report": report,
        "export": export,
        "recalibrate": recalibrate,
        "predict": predict,
        "prefix": prefix,
        "recipes": recipes,
        "cluster": cluster,
        "submit": submit,
        "attach": attach,
        "status": status,
        "stop": stop,
        "fetch": fetch,
        "doctor": doctor,
        "completion": completion,
    }
)

EXIT_CODES: Final = MappingProxyType(
    {
        0: "done",
        1: "the machine or the program failed (disk, memory, a fault), or a file could not be used",
        2: "the request cannot be met as it is; the sentence says what to change",
        INTERRUPTED: "interrupted by Ctrl-C, SIGTERM or SIGHUP; what has ended is kept",
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

Every verb has its own --help, with examples. Exit codes: 0 done, 1 the machine
or the program failed, 2 the request cannot be met as it is, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    _print_every_character()
    typed = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    if empty := _empty_value(typed):
        return _said(typed[0] or "VERB", f"{empty}; a variable of a script that is not set?", 2)
    chosen = parser.parse_args(typed)
    verb: ModuleType = VERBS[chosen.verb]
    try:
        with ended_like_ctrl_c(), leave_out_messages(chosen.quiet):
            code = int(verb.run(chosen))
        if sys.stdout is not None:  # nor is there one where the caller has closed it
            sys.stdout.flush()  # here, where a closed pipe or a full disk is still answered
        return code
    except BrokenPipeError:  # the reader, such as head, has seen enough
        from orchestrator.reporting.plain_console import discard_output

        discard_output(sys.stdout)
        return 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return _said(chosen.verb, "interrupted", INTERRUPTED)
    except Exception as error:
        sentence, code = _answer(error)
        return _said(chosen.verb, sentence, code)


def _answer(error: Exception) -> tuple[str, int]:
    """One sentence about an error, and the exit code."""
    from trainables.common.errors import OrchestrateError

    if isinstance(error, OrchestrateError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        return str(error), 1
    if isinstance(error, MemoryError):
        return f"the memory of this machine is too small: {error or 'none is left'}", 1
    if os.environ.get(_TRACEBACK):  # of a library, or a fault of ours
        raise error
    return _unexpected(error), 1


def _empty_value(typed: Sequence[str]) -> str:
    """Say which typed value is empty; an empty text if none is.

    >>> _empty_value(["search", "idc", "--name", ""]), _empty_value(["export", "latest", "--out="])
    ('--name needs a value, found an empty one', '--out needs a value, found an empty one')
    >>> _empty_value(["predict", "bundle", " "]), _empty_value(["search", "idc", "--set=a="])
    ('argument 2 of predict is empty', '')
    """
    for place, word in enumerate(typed):
        name, sign, value = word.partition("=")
        if name.startswith("--") and sign and not value.strip():
            return f"{name} needs a value, found an empty one"
        if not word.strip():
            before = typed[place - 1] if place else ""
            if before.startswith("--"):
                return f"{before} needs a value, found an empty one"
            return f"argument {place} of {typed[0]} is empty" if place else "the verb is empty"
    return ""


def _said(verb: str, sentence: str, code: int) -> int:
    from trainables.common.text import printable

    with contextlib.suppress(BrokenPipeError):
        print(f"orchestrate {verb}: {printable(sentence)}", file=sys.stderr)
    return code


def _unexpected(error: Exception) -> str:
    """One sentence about an exception that no verb expects."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_ROOT)]
    where = f" ({Path(ours[-1].filename).relative_to(_ROOT)}, line {ours[-1].lineno})" if ours else ""
    said = " ".join(str(error).split()) or "no message"
    return (
        f"this should not have happened: {type(error).__name__}: {said[:_LONGEST]}{where}. What was written "
        f"before stays; set {_TRACEBACK}=1 to see where it comes from"
    )


def _print_every_character() -> None:
    """Let what a stream cannot encode be printed as an escape, not end the verb after all its work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; importing and building it takes no torch, Ray or Optuna."""
    parser = Parser(
        prog="orchestrate",
        description="Hyperparameter search, ensembles and export for breast-image classification.",
        epilog=_EPILOG,
    )
    parser.set_defaults(root=parser)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, module in VERBS.items():
        verb = verbs.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=module.EPILOG,
        )
        module.add_arguments(verb)
        for leaf in _leaves(verb):
            leaf.add_argument(
                "-q", "--quiet", action="store_true", help="print results, their warnings and errors only"
            )
    return parser


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of a verb's actions, such as `list` and `prune`; the verb's own where it has none."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not actions:
        yield parser
    for action in actions:
        yield from action.choices.values()


class _Version(argparse.Action):
    """Prints the version; it is looked up when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from results.run.versions import package_versions

        (version,) = package_versions(("breast-image-orchestrator",)).values() or ("of a source tree",)
        print(f"orchestrate {version}")
        parser.exit(0)
