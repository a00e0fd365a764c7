"""What a job that is started again goes on with: `python -m orchestrator.cli.requeued search ...`.

It prints the words behind `orchestrate`, each with a NUL behind it, as `cluster/slurm.sh` reads them; nothing
where the search has no run folder yet. What cannot be understood is refused by the search itself.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

from orchestrator.cli.main import build_parser
from orchestrator.cli.search import request_of
from results.run.search_request import SearchRequest


def words_to_go_on(typed: Sequence[str], root: argparse.ArgumentParser) -> list[str]:
    """Return the command line that goes on with a search.

    Options of the request are in the run folder, and are not said again. Of the others, those stay that
    `resume` has, too: how it prints, and what follows the last trial.

    Args:
        typed: Command line of a search, from its verb on.
        root: Parser of all verbs.

    Returns:
        Verb, run folder and options; empty where there is no such folder yet.

    Raises:
        OrchestrateError: If an option does not exist, or its value is not allowed.
        SystemExit: If the command line is not understood.
    """
    parsed = root.parse_args(list(typed))
    request = request_of(parsed)
    folder = request.runs / request.task / (request.name or "")
    if request.name is None or not (folder / "search.yaml").is_file():
        return []
    return ["resume", str(folder), *_kept_options(parsed, _parser_of(root, "resume"))]


def _parser_of(root: argparse.ArgumentParser, verb: str) -> argparse.ArgumentParser:
    (verbs,) = (action for action in root._actions if isinstance(action, argparse._SubParsersAction))
    found: argparse.ArgumentParser = verbs.choices[verb]
    return found


def _kept_options(parsed: argparse.Namespace, resume: argparse.ArgumentParser) -> Iterator[str]:
    """What was typed of a search, is no part of its request, and is known to `resume`."""
    for action in resume._actions:
        value = getattr(parsed, action.dest, action.default)
        is_kept = not action.option_strings or action.dest in SearchRequest.model_fields
        if is_kept or value == action.default:
            continue
        yield max(action.option_strings, key=len)
        if action.nargs != 0:
            yield str(value)


def main(typed: Sequence[str] | None = None) -> int:
    """Print the words; returns the exit code."""
    words = words_to_go_on(sys.argv[1:] if typed is None else typed, build_parser())
    sys.stdout.write("".join(f"{word}\0" for word in words))
    return 0


if __name__ == "__main__":
    sys.exit(main())
