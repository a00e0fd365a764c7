"""Keyed hashes in place of ids: a person has one hash, and nobody without the key can tell whose it is."""

import hashlib
import hmac
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from trainables.common.errors import ConfigError
from trainables.data.collections.collection import Example

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
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:_DIGITS]


def pseudonymous(example: Example, key: bytes | None) -> Example:
    """Return an example whose patient, examination, name and partner are hashes; the same without a key."""
    if key is None:
        return example
    return replace(
        example,
        patient=None if example.patient is None else hashed(example.patient, key),
        exam=None if example.exam is None else hashed(example.exam, key),
        name=hashed(example.name, key),
        partner=None if example.partner is None else hashed(example.partner, key),
    )
