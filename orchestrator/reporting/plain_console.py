"""The console of all output: it reads nothing as markup, and outlives a reader that has gone."""

import os
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from trainables.common.text import printable


class PlainConsole(Console):
    """A console that prints text as it is: no markup, no emoji codes, and control characters as escapes.

    Args:
        is_for_messages: It writes to standard error, else to standard output.
        falls_silent: When nobody reads it any more it prints nothing, so that the work goes on; else it
            raises `BrokenPipeError`.
        options: Further options of rich's console.
    """

    def __init__(self, *, is_for_messages: bool, falls_silent: bool, **options: Any) -> None:
        super().__init__(stderr=is_for_messages, markup=False, emoji=False, highlight=False, **options)
        self._falls_silent = falls_silent

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a text into a renderable, with its control characters shown."""
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        """Keep rich from ending the process where the reader, such as head, has seen enough."""
        if not self._falls_silent:
            raise BrokenPipeError
        self.quiet = True
        discard_output(self.file)


def discard_output(stream: IO[str]) -> None:
    """Lead a stream whose reader is gone to nowhere, so that Python does not complain when it closes it."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream of its own, without a file
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
