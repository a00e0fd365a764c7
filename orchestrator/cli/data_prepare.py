"""`orchestrate data prepare`."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.reporting.console import messages, print_message, print_next, print_warning
from trainables.common.text import count_text, printable, typed_path

if TYPE_CHECKING:
    from trainables.data.prepared.engine import Preparation, Progress

HELP = "read a collection as it lies on the disk, and write it as a prepared set"
EPILOG = """\
What cannot be used is named in SET/problems.csv and counted; the rest is prepared,
and the exit code is then 1. The same command goes on after an interruption.

Collections: orchestrate data prepare list
Hashes in place of ids: openssl rand -hex 32 > key.txt, then --hash-ids key.txt

examples:
  orchestrate data prepare cbis-ddsm CBIS-DDSM --out sets/cbis --regions roi
  orchestrate data prepare idc IDC_regular_ps50_idx5 --out sets/idc
  orchestrate data prepare dicom exams --table labels.csv --out sets/ours --hash-ids key.txt
  orchestrate data prepare folder patches --out sets/patches --option task=benign_malignant --size 224
"""
_SHOWN: Final = 5  # problems that are printed; all are in a file
_WORDS_OF_JSON: Final = ("true", "false", "null")
_LEFT_OUT: Final = 1  # exit code where something could not be used


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the collection, its place and the options."""
    parser.add_argument("source", metavar="SOURCE", help="name of the collection, or list")
    parser.add_argument("path", nargs="?", type=Path, metavar="PATH", help="where it lies")
    parser.add_argument("--out", type=Path, metavar="SET", help="folder of the prepared set")
    what = parser.add_argument_group("what is taken")
    what.add_argument(
        "--regions", choices=("image", "roi", "patches"), help="whole images, regions or patches"
    )
    what.add_argument(
        "--table", type=Path, metavar="CSV", help="table of labels, where there is none of its own"
    )
    what.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="choice of the collection"
    )
    what.add_argument("--for-processing", action="store_true", help="take DICOM images FOR PROCESSING, too")
    how = parser.add_argument_group("what is done to images")
    how.add_argument("--size", metavar="H[xW]", help="height and width in pixels (default: by collection)")
    how.add_argument("--mm-per-px", type=float, metavar="MM", help="side of a pixel in millimetres")
    how.add_argument(
        "--step", action="append", default=[], metavar="NAME=VALUE", help="step of a whole mammogram"
    )
    how.add_argument("--no-steps", action="store_true", help="leave mammograms as they are, but for the size")
    parser.add_argument(
        "--hash-ids", metavar="KEY", help="hashes in place of ids; file of the key, or env:NAME"
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first thing that cannot be used")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")


def run(arguments: argparse.Namespace) -> int:
    """Prepare; returns the exit code."""
    if arguments.source == "list" and arguments.path is None:
        return _list()
    from orchestrator.api.prepared_sets import prepare_set
    from trainables.common.errors import ConfigError

    if arguments.path is None or arguments.out is None:
        raise ConfigError("data prepare needs SOURCE, PATH and --out SET")
    with _progress() as progress:
        done = prepare_set(
            arguments.source,
            arguments.path,
            arguments.out,
            regions=arguments.regions,
            table=arguments.table,
            options=_pairs(arguments.option, "--option"),
            size=_size(arguments.size),
            mm_per_px=arguments.mm_per_px,
            steps={name: _plain(value) for name, value in _pairs(arguments.step, "--step").items()},
            is_prepared=not arguments.no_steps,
            for_processing=arguments.for_processing,
            hash_ids=arguments.hash_ids,
            strict=arguments.strict,
            workers=arguments.workers,
            progress=progress,
        )
    _say(done, arguments.out, is_hashed=arguments.hash_ids is not None)
    return _LEFT_OUT if done.problems else 0


def _list() -> int:
    from trainables.data.collections import COLLECTIONS

    width = max(map(len, COLLECTIONS))
    for name, collection in COLLECTIONS.items():
        size = f" ({collection.own_sizes})" if collection.own_sizes else ""
        print(f"{name.ljust(width)}  {collection.title}: {collection.accepts}{size}")
    return 0


def _say(done: "Preparation", out: Path, *, is_hashed: bool) -> None:
    console, prepared = messages(), done.prepared
    for note in done.notes:
        print_message(console, note)
    tags = prepared.facts["identifying_tags"]
    if tags:
        seen = ", ".join(f"{name} ({number})" for name, number in tags.items())
        print_message(console, f"identifying tags that are filled, in so many images: {seen}; not copied")
    if tags and not is_hashed and prepared.table.get("patient"):
        print_message(
            console, "patients keep the ids of the collection; --hash-ids KEY replaces them by hashes"
        )
    if done.problems:
        print_warning(
            console, f"not used: {count_text(len(done.problems), 'problem')}, all in {out}/problems.csv"
        )
        for problem in done.problems[:_SHOWN]:
            print_message(console, printable(f"  {problem.what} {problem.reason}", keeps=""))
    shape = "x".join(str(side) for side in prepared.images.shape[1:])
    patients = {patient for patient in prepared.table["patient"] if patient is not None}
    if not patients:
        print_message(
            console,
            "no image has a patient, so folds of a search cannot be grouped by patient; give patients",
        )
    of = f" of {count_text(len(patients), 'patient')}" if patients else ""
    state = "" if done.is_new else "; it was there already"
    print(
        f"{out}: {count_text(len(prepared.images), 'image')}{of}, {shape} {prepared.images.dtype}, "
        f"fingerprint {prepared.fingerprint[:12]}{state}"
    )
    print_next(console, "orchestrate", "search", "TASK", "--data", typed_path(out))


@contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar on a terminal; nothing elsewhere."""
    console = messages()
    if not console.is_terminal or console.quiet:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("preparing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("preparing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _pairs(typed: list[str], option: str) -> dict[str, str]:
    from trainables.common.errors import ConfigError

    pairs = {}
    for text in typed:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise ConfigError(f"{option} takes NAME=VALUE, found {text}")
        pairs[name] = value
    return pairs


def _plain(text: str) -> Any:
    """A value as JSON has it, such as 0.02; true, false and none in any case; else the text itself.

    >>> [_plain(text) for text in ("True", "false", "NONE", "null", "0.02", "[0.07, 0.07]", "left")]
    [True, False, None, None, 0.02, [0.07, 0.07], 'left']
    """
    import json

    word = text.strip().lower()
    try:
        return json.loads("null" if word == "none" else word if word in _WORDS_OF_JSON else text)
    except ValueError:
        return text


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width.

    >>> _size("224"), _size("1024x832"), _size(None)
    ((224, 224), (1024, 832), None)
    """
    if text is None:
        return None
    from trainables.common.errors import ConfigError

    height, _, width = text.lower().partition("x")
    try:
        return int(height), int(width or height)
    except ValueError as error:
        raise ConfigError(f"--size takes pixels, such as 224 or 1024x832, found {text}") from error
