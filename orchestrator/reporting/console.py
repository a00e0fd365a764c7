"""Printing: messages go to standard error, results to standard output.

Nothing that is printed is read as markup: file names, data and messages of libraries are not ours, and may
hold brackets, colons and control characters. What is styled is styled by an argument.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from trainables.common.text import command_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from results.run.run_folder import RunFolder


SYNTHETIC_WARNING: Final = "SYNTHETIC images: these numbers say nothing about patients"
_IS_QUIET: ContextVar[bool] = ContextVar("is_quiet", default=False)
# Messages that change how a number must be read begin with one of them; they are printed in any case.
_WARNINGS: Final = ("WARNING", "SYNTHETIC", "Naive split")


@contextmanager
def leave_out_messages(is_quiet: bool = True) -> Iterator[None]:
    """Print results, warnings and errors only: what `messages` returns inside of the block stays silent."""
    before = _IS_QUIET.set(is_quiet)
    try:
        yield
    finally:
        _IS_QUIET.reset(before)


def messages() -> "Console":
    """Return the console for messages: standard error, so that standard output holds results alone."""
    from orchestrator.reporting.plain_console import PlainConsole

    # FORCE_COLOR asks for colours in a file, not for a panel that moves the cursor there.
    return PlainConsole(
        is_for_messages=True,
        falls_silent=True,
        quiet=_IS_QUIET.get(),
        force_interactive=sys.stderr.isatty(),
    )


def essentials(console: "Console") -> "Console":
    """Return a console for what is said even where messages are left out; the same one where they are not."""
    from orchestrator.reporting.plain_console import PlainConsole

    return PlainConsole(is_for_messages=True, falls_silent=True) if console.quiet else console


def results(*, falls_silent: bool = False) -> "Console":
    """Return the console for results: standard output.

    Args:
        falls_silent: Work follows that must be done even if nobody reads its results any more.
    """
    from orchestrator.reporting.plain_console import PlainConsole

    return PlainConsole(is_for_messages=False, falls_silent=falls_silent)


def print_message(console: "Console", text: str) -> None:
    """Print a sentence: wrapped between words on a terminal, on one line elsewhere."""
    if text.startswith(_WARNINGS):
        console = essentials(console)
    console.print(text, soft_wrap=not console.is_terminal)


def print_warning(console: "Console", text: str) -> None:
    """Print a sentence that the reader must not miss, even where messages are left out."""
    console = essentials(console)
    console.print(text, style="yellow", soft_wrap=not console.is_terminal)


def print_next(console: "Console", *words: object) -> None:
    """Print the command to type next, quoted and never folded, so that it can be pasted."""
    console.print(f"next: {command_text(*words)}", soft_wrap=True)


def show(
    kind: str, *, table: Callable[[], "RenderableType"], rows: Callable[[], Any], csv: Callable[[], str]
) -> None:
    """Print a result as a table, as JSON or as CSV on standard output."""
    if kind == "json":
        print(json.dumps(rows(), indent=1, allow_nan=False))
    elif kind == "csv":
        print(csv(), end="")
    else:
        results().print(table())


class Sections:
    """Several results of one verb, on standard output, printed in a `with` block.

    Tables are printed as they come, and the work after them goes on where nobody reads them. JSON is one
    object at the end, CSV one table after another, with an empty line between them. If the block ends with an
    exception, what it has added until then is printed all the same, and the JSON object says why as `error`.

    Args:
        form: `table`, `json` or `csv`.
        facts: Returns what only the JSON object has, before the results.
    """

    def __init__(self, form: str, facts: Callable[[], Mapping[str, Any]] = dict) -> None:
        self._form = form
        self._facts = facts
        self._rows: dict[str, Any] = {}
        self._texts: list[str] = []

    def add(
        self,
        name: str,
        *,
        table: Callable[[], "RenderableType"],
        rows: Callable[[], Any],
        csv: Callable[[], str],
    ) -> None:
        """Add a result; its name is its key in the JSON object."""
        if self._form == "json":
            self._rows[name] = rows()
        elif self._form == "csv":
            self._texts.append(csv())
        else:
            results(falls_silent=True).print(table())

    def __enter__(self) -> "Sections":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Print what is not printed yet."""
        if error is None:
            self._print({})
            return
        said = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
        with suppress(
            Exception
        ):  # a full disk, or facts that fail too: the error at hand is the one to be said
            self._print({"error": said})

    def _print(self, error: Mapping[str, str]) -> None:
        if self._form == "json":
            text = json.dumps({**self._facts(), **error, **self._rows}, indent=1, allow_nan=False)
            print(text, flush=True)
        elif self._texts:
            print("\n".join(self._texts), end="", flush=True)


def warn_if_synthetic(run: "RunFolder") -> None:
    """Say on standard error that a run's images are generated."""
    if run.search().is_synthetic:
        print_warning(messages(), SYNTHETIC_WARNING)
