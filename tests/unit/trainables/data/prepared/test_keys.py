"""Keys of the hashes that replace ids."""

from pathlib import Path

import pytest

from trainables.common.errors import ConfigError
from trainables.data.prepared.identity import hashed, read_key


def test_a_key_is_read_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    monkeypatch.setenv("KEY_OF_IDS", "0123456789abcdef")
    assert read_key(str(tmp_path / "key")) == read_key("env:KEY_OF_IDS") == b"0123456789abcdef"
    assert hashed("a", b"0" * 16) != hashed("a", b"1" * 16)
    assert hashed("a", b"0" * 16) != hashed("b", b"0" * 16)


def test_a_key_that_is_missing_or_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY_OF_IDS", raising=False)
    with pytest.raises(ConfigError, match=r"variable KEY_OF_IDS, .* is not set"):
        read_key("env:KEY_OF_IDS")
    with pytest.raises(ConfigError, match="cannot be read from"):
        read_key(str(tmp_path / "gone"))
    (tmp_path / "key").write_text("short")
    with pytest.raises(ConfigError, match="at least 16 characters, found 5"):
        read_key(str(tmp_path / "key"))
