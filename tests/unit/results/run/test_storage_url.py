"""Passwords of databases are neither written to a run folder nor printed."""

from pathlib import Path

import pytest

from orchestrator.request import check_request, parse_request, typed_command
from orchestrator.study.study import open_study
from results.run.storage_url import PASSWORD, with_absolute_path, with_password, without_password
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


@pytest.mark.parametrize("url", [url for url in URLS if "s3c" in url])
def test_a_password_on_the_command_line_is_refused(url: str, tmp_path: Path) -> None:
    request = parse_request({"task": "idc", "study_storage": url, "runs": tmp_path})
    with pytest.raises(ConfigError, match=f"can be read in the list of processes.* set {PASSWORD}") as error:
        check_request(request)
    assert "s3c" not in str(error.value)


def test_a_study_of_several_searches_needs_a_storage_that_all_see(tmp_path: Path) -> None:
    asked = {"task": "idc", "runs": tmp_path, "study": "both"}
    with pytest.raises(
        ConfigError, match="--study both is a study of several searches, and needs --study-st"
    ):
        check_request(parse_request(asked))
    stored = asked | {"study_storage": "sqlite:///study.db"}
    with pytest.raises(ConfigError, match="letters, digits, dots, dashes and underscores only"):
        check_request(parse_request(stored | {"study": "a/b"}))
    with pytest.raises(ConfigError, match="--outer 3 repeats a whole search"):
        check_request(parse_request(stored | {"outer": 3}))
    assert check_request(parse_request(stored)).path.parent == tmp_path / "idc"


def test_the_file_of_a_study_is_recorded_by_its_absolute_path(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for url, kept in {
        "sqlite:///study.db": f"sqlite:///{tmp_path}/study.db",
        "sqlite:////abs/study.db": "sqlite:////abs/study.db",
        "sqlite://": "sqlite://",
        "journal://here/study.log": f"journal://{tmp_path}/here/study.log",
        "journal:///abs/study.log?lock=open": "journal:///abs/study.log?lock=open",
        "postgresql://me@host/db": "postgresql://me@host/db",
    }.items():
        assert with_absolute_path(url) == kept
        assert parse_request({"task": "idc", "study_storage": url}).resolved(data="d").study_storage == kept


def test_the_environment_gives_a_password_to_who_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "s3c/ret@")
    assert with_password("postgresql://me@host/db") == "postgresql://me:s3c%2Fret%40@host/db"
    assert with_password("postgresql://me:other@host/db") == "postgresql://me:other@host/db"
    assert with_password("sqlite:///me@host.db") == "sqlite:///me@host.db"
    monkeypatch.delenv(PASSWORD)
    assert with_password("postgresql://me@host/db") == "postgresql://me@host/db"
