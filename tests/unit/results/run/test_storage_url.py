"""Passwords of databases are neither written to a run folder nor printed."""

from pathlib import Path

import pytest

from orchestrator.request import parse_request, typed_command
from orchestrator.study.study import open_study
from results.run.storage_url import PASSWORD, with_password, without_password
from trainables.common.errors import ConfigError

URLS = {
    "postgresql://me:s3cret@host:5432/db": "postgresql://me@host:5432/db",
    "postgresql+psycopg2://me:s3cret@host/db": "postgresql+psycopg2://me@host/db",
    "mysql://me:s3c@ret@host/db": "mysql://me@host/db",
    "mysql://me:s3c:r/et@host/db": "mysql://me@host/db",
    "redis://:s3cret@host:6379": "redis://@host:6379",
    "postgresql://host/db?user=me&password=s3cret": "postgresql://host/db?user=me",
    "postgresql://host/db?password=s3cret&user=me": "postgresql://host/db?user=me",
    "sqlite:///study.db": "sqlite:///study.db",
    "postgresql://me@host/db": "postgresql://me@host/db",
}


@pytest.mark.parametrize("url", URLS)
def test_a_password_is_taken_out_of_a_url_and_of_a_text_about_it(url: str) -> None:
    assert without_password(url) == URLS[url]
    assert "s3c" not in without_password(f"Could not parse {url} as a URL")


@pytest.mark.parametrize("url", [url for url in URLS if "s3c" in url])
def test_a_password_is_in_no_record_and_in_no_command(url: str) -> None:
    request = parse_request({"task": "idc", "study_storage": url})
    assert request.study_storage == url  # what opens the study
    assert request.resolved(data="d").study_storage == URLS[url]
    assert "s3c" not in typed_command(["search", "idc", "--study-storage", url, f"--study-storage={url}"])


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@nowhere.invalid/db", "nonsense://me:s3cret@host/db"])
def test_a_password_is_in_no_message(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(ConfigError, match=f"cannot be opened: .*a password is read from {PASSWORD}") as error:
        open_study(
            storage=url,
            journal=tmp_path / "study.log",
            name="a",
            is_new=True,
        )
    assert "s3cret" not in str(error.value)


def test_the_environment_gives_a_password_to_who_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "s3c/ret@")
    assert with_password("postgresql://me@host/db") == "postgresql://me:s3c%2Fret%40@host/db"
    assert with_password("postgresql://me:other@host/db") == "postgresql://me:other@host/db"
    assert with_password("sqlite:///me@host.db") == "sqlite:///me@host.db"
    monkeypatch.delenv(PASSWORD)
    assert with_password("postgresql://me@host/db") == "postgresql://me@host/db"
