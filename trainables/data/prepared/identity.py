"""Keyed hashes in place of ids: a person has one hash, and nobody without the key can tell whose it is."""

import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from trainables.common.errors import ConfigError
from trainables.common.text import as_utf8
from trainables.data.collections.collection import Example
from trainables.data.columns import EXTRA_COLUMN
from trainables.data.personal_names import identifies
from trainables.data.prepared.reading import files_beside

_FILE: Final = r"\.(?:dcm|dicom|png|jpe?g|tiff?|pgm|bmp|ljpeg|ics|overlay|xml|npy|npz)\b"
# What names files that belong to no example: a list behind a colon, a file that a table names, any other.
_NAMING: Final = (
    (re.compile(r"(without a row in the table): .*", re.DOTALL), r"\1"),
    (re.compile(rf": [^:]*{_FILE}.*", re.DOTALL | re.IGNORECASE), ""),
    (re.compile(r"^names .*, (which is|and \d+ files are)\b", re.DOTALL), r"names a file, \1"),
    (re.compile(r"\bits mask its mask\b"), "its mask"),
    (re.compile(rf"[^\s,;:()'\"]+{_FILE}", re.IGNORECASE), "a file"),
)
_LEAST_BYTES: Final = 16
_DIGITS: Final = 16  # 64 bits: two of a million patients share a hash with a chance of 3 in 100 million


def read_key(given: str) -> bytes:
    """Read the key of the hashes from a file, or from a variable of the environment.

    Args:
        given: Path of a file, or `env:NAME`.

    Raises:
        ConfigError: If it is missing, or shorter than 16 bytes.
    """
    if given.startswith("env:"):
        name = given.removeprefix("env:")
        if name not in os.environ:
            raise ConfigError(f"the variable {name}, which should hold the key of the hashes, is not set")
        key = os.environ[name].encode()
    else:
        try:
            key = Path(given).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"the key of the hashes cannot be read from {given}: {error.strerror}"
            ) from error
    key = key.strip()
    if len(key) < _LEAST_BYTES:
        raise ConfigError(
            f"the key of the hashes must hold at least {_LEAST_BYTES} characters, found {len(key)}; make one "
            "with: openssl rand -hex 32"
        )
    return key


def hashed(text: str, key: bytes) -> str:
    """Return the hash that stands for an id: 16 hexadecimal digits of HMAC-SHA-256.

    >>> hashed("P_00001", b"0123456789abcdef")
    '386fab430e5ba313'
    """
    return hmac.new(key, as_utf8(text).encode(), hashlib.sha256).hexdigest()[:_DIGITS]


def nameless(text: str, example: Example | None = None) -> str:
    """Return a reason or a note without names of files, and without those of an example.

    Args:
        text: Such as the reason why an example is not used.
        example: The example, whose name, patient, examination and files are replaced; None for none.

    >>> nameless("names Anna M 1.dcm, which is not there")
    'names a file, which is not there'
    >>> nameless("2 image files without a row in the table: Anna, Eva")
    '2 image files without a row in the table'
    """
    for name, instead in _names_of(example):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", instead, text)
    for pattern, instead in _NAMING:
        text = pattern.sub(instead, text)
    return text


def _names_of(example: Example | None) -> list[tuple[str, str]]:
    """Names that an example brings and what stands for them, the longest first."""
    if example is None:
        return []
    files = [(example.file, "the file"), *((mask, "its mask") for mask in example.masks)]
    files += [(header, "its header") for header in files_beside(example.file)]
    found = {example.name: "the example", example.patient: "the patient", example.exam: "the examination"}
    for file, instead in files:
        found |= {str(file.parent): "its folder", file.stem: instead, file.name: instead, str(file): instead}
    known = [(name, instead) for name, instead in found.items() if name and not _is_small(name)]
    return sorted(known, key=lambda pair: len(pair[0]), reverse=True)


def _is_small(name: str) -> bool:
    """True for a number that may be a count as well."""
    return name.isdigit() and len(name) < 4


def pseudonymous(example: Example, key: bytes | None) -> Example:
    """Return an example whose patient, examination, name and partner are hashes; the same without a key.

    So are the values of further columns whose names speak of an id, such as `patient_no` or `Fallnummer`.
    """
    if key is None:
        return example
    return replace(
        example,
        patient=None if example.patient is None else hashed(example.patient, key),
        exam=None if example.exam is None else hashed(example.exam, key),
        name=hashed(example.name, key),
        partner=None if example.partner is None else hashed(example.partner, key),
        columns={
            name: hashed(str(value), key) if identifies(name) else value
            for name, value in example.columns.items()
        },
    )


def note_kept(examples: Iterable[Example]) -> list[str]:
    """Return a sentence on the columns of a table that no hash stands for; none where there are none.

    Args:
        examples: Examples of a table that the user wrote.
    """
    columns = {name for example in examples for name in example.columns} - {EXTRA_COLUMN}
    kept = sorted(name for name in columns if not identifies(name))
    if not kept:
        return []
    return [
        f"columns of the table that are kept as they are: {', '.join(kept)}; leave out what could tell who "
        "a person is"
    ]
