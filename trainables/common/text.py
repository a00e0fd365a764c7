"""Numbers in words, foreign text made safe to print, and commands that can be pasted."""

import shlex
import unicodedata
from collections.abc import Sequence
from typing import Final

# They turn the order of what is printed around, so that a name reads as another one.
_REORDERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_NOT_PRINTED: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))  # control, half of a pair, line and paragraph ends


def count_text(count: float, noun: str) -> str:
    """Return a number with its noun in the right form.

    >>> count_text(1, "file"), count_text(3, "file"), count_text(0.5, "GPU")
    ('1 file', '3 files', '0.5 GPU')
    """
    return f"{count:g} {noun}" if 0 < count <= 1 else f"{count:g} {noun}s"


def done_text(done: int, asked: int | None, noun: str) -> str:
    """Return how many of how many there are, or of an open number.

    >>> done_text(3, 24, "trial"), done_text(1, None, "trial")
    ('3 of 24 trials', '1 trial')
    """
    return count_text(done, noun) if asked is None else f"{done} of {count_text(asked, noun)}"


def size_text(count: int) -> str:
    """Return a number of bytes with a decimal unit.

    >>> size_text(12_345), size_text(2_500_000), size_text(3_210_000_000)
    ('12 kB', '2.5 MB', '3.21 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.0f} kB"


def clock_text(seconds: float) -> str:
    """Format a duration.

    >>> clock_text(7), clock_text(125), clock_text(3725)
    ('0:07', '2:05', '1:02:05')
    """
    minutes, rest = divmod(int(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def trials_text(numbers: Sequence[int]) -> str:
    """Return trials by their numbers.

    >>> trials_text((7,)), trials_text((1, 2))
    ('trial 7', 'trials 1, 2')
    """
    return f"trial{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its type where it says nothing.

    >>> first_line(ValueError("too small" + chr(10) + "by 3")), first_line(MemoryError())
    ('too small', 'MemoryError')
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def printable(text: str, *, keeps: str = "\n\t") -> str:
    """Return a text whose control characters are shown as escapes, so that a terminal does not obey them.

    Args:
        text: Any text, such as a file name or a message about one.
        keeps: Control characters that stay; empty for a single line.

    >>> print(printable("a\\x1b[2Jb.png"), printable("a\\nb", keeps=""))
    a\\x1b[2Jb.png a\\nb
    """
    return "".join(_shown(one) if one not in keeps and _is_hidden(one) else one for one in text)


def as_utf8(text: str) -> str:
    """Return a text that can be written as UTF-8: bytes of a file name that are none are shown as escapes.

    >>> print(as_utf8("M" + chr(0xDCFC) + "ller"))
    M\\udcfcller
    """
    return text.encode("utf-8", "backslashreplace").decode()


def command_text(*words: object) -> str:
    """Return a command as it is typed in a shell: each word is quoted where it needs to be.

    >>> print(command_text("orchestrate", "leaderboard", "my runs/a[1]"))
    orchestrate leaderboard 'my runs/a[1]'
    """
    return " ".join(map(_quoted, map(str, words)))


def typed_path(path: object) -> str:
    """Return a path as a word that no command takes for an option.

    >>> typed_path("-runs/first"), typed_path("runs/first")
    ('./-runs/first', 'runs/first')
    """
    return f"./{path}" if str(path).startswith("-") else str(path)


def plain_name(name: str) -> str:
    """Return the name of a class or of its folder in the form in which such names are compared.

    >>> plain_name("Mass-Benign "), plain_name("mass benign")
    ('mass_benign', 'mass_benign')
    """
    return unicodedata.normalize("NFC", name).strip().lower().replace("-", "_").replace(" ", "_")


def is_folder_name(text: str) -> bool:
    """True for letters, digits, dots, dashes and underscores that begin with a letter or a digit.

    >>> is_folder_name("density-2"), is_folder_name("a/b"), is_folder_name(".hidden"), is_folder_name("--")
    (True, False, False, False)
    """
    return text[:1].isalnum() and text.replace("-", "").replace("_", "").replace(".", "").isalnum()


def is_uri(text: str) -> bool:
    """True for a text that names a storage, and no file or folder of this machine.

    >>> is_uri("s3://bucket/path"), is_uri("runs/first")
    (True, False)
    """
    return "://" in text


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _NOT_PRINTED or character in _REORDERING


def _shown(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _quoted(word: str) -> str:
    if not any(map(_is_hidden, word)):
        return shlex.quote(word)
    # The form of bash and zsh that writes control characters as escapes.
    plain = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(_shell_escape(one) if _is_hidden(one) else one for one in plain)}'"


def _shell_escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's form of a byte in a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
