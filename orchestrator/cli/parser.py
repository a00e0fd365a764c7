"""The parser of the command line: a mistake is one sentence, with the name that was probably meant."""

import argparse
import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

_INVALID_CHOICE: Final = re.compile(r"invalid choice: '(?P<typed>[^']*)' \(choose from (?P<known>.*)\)")
_REQUIRED: Final = "the following arguments are required"
_CLOSE: Final = 0.6  # similarity in [0, 1] from which a name is suggested


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence and exit code 2, without the usage of all options before it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.typed: list[str] = []
        self.set_defaults(parser=self)  # the verb's own, since it is set last

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse a command line that holds nothing else."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            parser: Parser = found.parser
            parser.error("; ".join(parser.mistakes(rest)))
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse what is known, and keep what was typed for `error`."""
        self.typed = list(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the sentence with a suggestion, and exit with 2."""
        from trainables.common.text import printable

        if message.startswith(_REQUIRED):  # a misspelt option is why something is missing
            message = "; ".join((*self.mistakes(self.typed, is_known_left_out=True), message))
        message += _nearest_choice(message)
        end = "" if message.endswith("?") else "."
        self.exit(2, f"{printable(f'{self.prog}: {message}{end} See {self.prog} --help')}\n")

    def mistakes(self, words: Sequence[str], *, is_known_left_out: bool = False) -> Iterator[str]:
        """Describe each unknown option among words, and each word too many.

        Args:
            words: Words of the command line.
            is_known_left_out: The words are all that was typed: those that are no unknown option are right.
        """
        known = self.options()
        is_value = False
        for word in words:
            name = word.partition("=")[0]
            is_option = word.startswith("--") or (word.startswith("-") and word[1:2].isalpha())
            if is_option and not any(option.startswith(name) for option in known):
                yield f"unknown option {name}{_nearest(name, known)}"
            elif not is_known_left_out and not is_option and not is_value:
                yield f"unexpected argument {word!r}"
            is_value = is_option and "=" not in word

    def options(self) -> tuple[str, ...]:
        """All options of this parser, such as `--format`."""
        return tuple(dict.fromkeys(name for action in self._actions for name in action.option_strings))


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE)
    return f"; did you mean {near[0]}?" if near else ""


def _nearest_choice(message: str) -> str:
    """Suggest a choice where argparse complains about one.

    >>> _nearest_choice("argument VERB: invalid choice: 'serach' (choose from 'plan', 'search')")
    '; did you mean search?'
    """
    found = _INVALID_CHOICE.search(message)
    return _nearest(found["typed"], re.split(r",\s*", found["known"].replace("'", ""))) if found else ""
