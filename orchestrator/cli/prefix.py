"""`orchestrate prefix`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.common import add_format, add_runs
from orchestrator.reporting.console import messages, print_message, show
from trainables.common.text import count_text, size_text

if TYPE_CHECKING:
    from trainables.features.listing import StoredKey

HELP = "list or prune the stored features of frozen layers"
EPILOG = """\
Features that a running trial reads are never removed. Removed features are
computed again when needed.

examples:
  orchestrate prefix list
  orchestrate prefix list --runs runs --format csv > stored.csv
  orchestrate prefix prune --keep-gb 50 --dry-run
  orchestrate prefix prune --older-than 30
  orchestrate prefix prune --store /scratch/store --all
"""
_DAY_SECONDS: Final = 86_400.0
_GB: Final = 1e9
_COLUMNS: Final = (
    *("key", "data", "source", "backbone", "images", "size_px", "contrast", "kind", "views", "taps"),
    *("bytes", "last_used", "in_use"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="what the store holds", description="List what the store holds.")
    _add_store(listed)
    add_format(listed)
    pruned = actions.add_parser(
        "prune", help="remove stored features", description="Remove stored features that nobody is reading."
    )
    _add_store(pruned)
    pruned.add_argument("--keep-gb", type=float, metavar="N", help="the latest used N GB stay")
    pruned.add_argument("--older-than", type=float, metavar="DAYS", help="what was used since then stays")
    pruned.add_argument("--all", action="store_true", help="nothing stays but what is in use")
    pruned.add_argument("--dry-run", action="store_true", help="say what would go; remove nothing")


def run(arguments: argparse.Namespace) -> int:
    """List or prune; returns the exit code."""
    return _list(arguments) if arguments.action == "list" else _prune(arguments)


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", type=Path, help="folder of stored data and features (default: RUNS/.store)"
    )
    add_runs(parser)


def _store(arguments: argparse.Namespace) -> Path:
    from results.run.run_paths import store_folder
    from trainables.common.errors import ConfigError

    store = store_folder(arguments.runs, arguments.store)
    if not store.is_dir():
        raise ConfigError(f"no store at {store}; name it with --store, or its runs folder with --runs")
    return store


def _list(arguments: argparse.Namespace) -> int:
    from results.tables import csv_text
    from trainables.features.listing import stored_keys

    store = _store(arguments)
    keys = stored_keys(store)
    show(
        arguments.format,
        table=lambda: _table(keys),
        rows=lambda: [_row(key) for key in keys],
        csv=lambda: csv_text([_row(key) for key in keys], _COLUMNS),
    )
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from trainables.common.errors import ConfigError
    from trainables.features.listing import prune

    keep, days = arguments.keep_gb, arguments.older_than
    if keep is None and days is None and not arguments.all:
        raise ConfigError("say what may go: --keep-gb N, --older-than DAYS or --all")
    for name, value in (("--keep-gb", keep), ("--older-than", days)):
        if value is not None and arguments.all:
            raise ConfigError(f"--all removes what {name} would keep: give one of the two")
        if value is not None and not 0 <= value < float("inf"):
            raise ConfigError(f"{name} must be a number from 0 up, found {value}")
    pruned = prune(
        _store(arguments),
        keep_bytes=0 if arguments.all else None if keep is None else round(keep * _GB),
        unused_seconds=None if days is None else days * _DAY_SECONDS,
        is_trial=arguments.dry_run,
    )
    verb, stays = ("would free", "would stay") if arguments.dry_run else ("freed", "are left")
    print(
        f"{verb} {size_text(pruned.bytes)} in {count_text(pruned.files, 'file')}; "
        f"{size_text(pruned.left_bytes)} {stays}"
    )
    if pruned.in_use:
        print_message(
            messages(),
            f"left because running trials read them: {count_text(pruned.in_use, 'file')}, "
            f"{size_text(pruned.in_use_bytes)}",
        )
    return 0


def _row(key: "StoredKey") -> dict[str, Any]:
    from datetime import UTC, datetime

    return {
        "key": key.key,
        "data": key.fingerprint[:12],
        "source": key.source,
        "backbone": key.backbone,
        "images": key.images,
        "size_px": key.size_px,
        "contrast": key.contrast,
        "kind": key.kind,
        "views": list(key.views),
        "taps": list(key.taps),
        "bytes": key.bytes,
        "last_used": datetime.fromtimestamp(key.used_at, UTC).isoformat(timespec="seconds"),
        "in_use": key.is_in_use,
    }


def _table(keys: "list[StoredKey]") -> Any:

    from results.tables import result_table

    table = result_table()
    for header in ("data", "frozen stages of", "views", "taps"):
        table.add_column(header, overflow="fold")
    for header in ("size", "last used"):
        table.add_column(header, justify="right", no_wrap=True)
    for key in keys:
        table.add_row(*_cells(key))
    total = size_text(sum(key.bytes for key in keys))
    table.caption = f"{count_text(len(keys), 'set')} of features, {total}" if keys else "nothing is stored"
    return table


def _cells(key: "StoredKey") -> tuple[str, ...]:
    kind = "" if key.kind == "float16" else f", {key.kind}"
    return (
        f"{key.fingerprint[:8] or 'unknown'}\n{key.source or ''}",
        f"{key.backbone}\n{key.size_px} px, contrast {key.contrast:g}{kind}",
        _views_text(key.views),
        _taps_text(key.taps),
        size_text(key.bytes),
        "in use" if key.is_in_use else _age(key.used_at),
    )


def _views_text(views: tuple[str, ...]) -> str:
    """Name the kinds of views and count them.

    >>> _views_text(("affine-0", "d4-0", "d4-1"))
    '1 affine, 2 d4'
    """
    kinds = [view.rpartition("-")[0] for view in views]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _taps_text(taps: tuple[str, ...]) -> str:
    """Name the stages, pooled ones first.

    >>> _taps_text(("block4.gap", "block5.gap", "block4.map"))
    'block4 block5, maps of block4'
    """
    pooled, maps = (
        " ".join(tap.removesuffix(end) for tap in taps if tap.endswith(end)) for end in (".gap", ".map")
    )
    return ", ".join(text for text in (pooled, f"maps of {maps}" if maps else "") if text)


def _age(used_at: float) -> str:
    import time

    seconds = max(0.0, time.time() - used_at)
    for unit, size in (("d", _DAY_SECONDS), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"
