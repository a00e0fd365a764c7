"""A run folder is copied to an S3 storage that checks signatures, and brought back from there."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mirrored_runs import begun_run, end_trial, ended, prefix, visible
from s3_server import Amazon, s3_server

from orchestrator.cli.main import main
from orchestrator.reporting.mirror import MirrorCallback, mirror_callbacks
from orchestrator.reporting.place import Place
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, MachineError

pytestmark = pytest.mark.slow

MULTIPART_BYTES = 12_000_000  # pyarrow cuts files into parts of 10 MB


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return begun_run(tmp_path / "here")


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with s3_server() as found:
        log_in(found.account("searches"), monkeypatch)
        yield found


def log_in(key: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in key.items():
        monkeypatch.setenv(name, value)


def mirror(run: RunFolder, uri: str) -> None:
    """Copy a search that had one trial, from its start to its end."""
    (callback,) = mirror_callbacks(uri)
    callback.on_search_start(run, run.search())
    callback.on_trial_end(end_trial(run))
    (run.path / "leaderboard.csv").write_text("1")
    callback.on_search_end(ended(run))


def test_a_run_is_the_same_there_and_back_again(
    amazon: Amazon, run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write_weights(1, [("0.safetensors", os.urandom(MULTIPART_BYTES))])
    mirror(run, amazon.uri("bucket/runs"))
    here = visible(run.path)
    assert len(here) == 7
    assert {name: data for name, data in amazon.contents(f"runs/{prefix(run)}/").items() if data} == here
    assert any("partNumber=2" in asked for asked in amazon.asked)
    runs = tmp_path / "fetched"
    assert main(["fetch", amazon.uri("bucket/runs"), run.search().name, "--runs", str(runs)]) == 0
    assert visible(runs / prefix(run)) == here
    assert str(runs / prefix(run)) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "signature"),
        ({"AWS_ACCESS_KEY_ID": "AKIAOFNOBODY"}, "does not exist in our records"),
    ],
)
def test_a_wrong_key_is_refused(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], said: str
) -> None:
    log_in(wrong, monkeypatch)
    with pytest.raises(
        ConfigError,
        match=f"written there: the storage does not know this key; look at AWS_ACCESS_KEY_ID.*{said}",
    ):
        mirror_callbacks(amazon.uri("bucket/runs"))
    assert amazon.contents() == {}


@pytest.mark.parametrize("missing", ["s3:PutObject", "s3:ListBucket", "s3:DeleteObject"])
def test_an_account_that_may_not_do_all_is_refused_before_the_search(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    every = {"s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:DeleteObject"}
    log_in(amazon.account("some", tuple(every)), monkeypatch)
    mirror_callbacks(amazon.uri("bucket/runs"))
    log_in(amazon.account("fewer", tuple(every - {missing})), monkeypatch)
    with pytest.raises(ConfigError, match="the account may not do this; it needs to write, read, list and"):
        mirror_callbacks(amazon.uri("bucket/runs"))


def test_a_bucket_that_is_not_there_is_refused_before_any_trial(
    amazon: Amazon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "search",
        "benign_malignant",
        "--runs",
        str(tmp_path / "runs"),
        "--store",
        str(tmp_path / "store"),
    ]
    assert main([*words, "--results", amazon.uri("absent/runs")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "nothing can be written there: there is no such bucket; make it first, or mend its name" in said
    assert not any(tmp_path.iterdir())


def test_more_objects_than_one_page_lists_are_seen(amazon: Amazon, run: RunFolder) -> None:
    uri, own = amazon.uri("bucket/runs"), f"runs/{prefix(run)}"
    (run.path / "many").mkdir()
    for number in range(1100):
        file = run.path / "many" / f"{number:04d}"
        file.write_bytes(b"1")
        os.utime(file, (0, 0))  # long before it was copied
        if number != 1050:
            amazon.put(f"{own}/many/{number:04d}", b"1")
    run.trial(3).mkdir(parents=True)
    gone = [f"/bucket/{own}/{name}" for name in ("tensorboard/earlier", "trials/0003/gone")]
    for name in ("many/not-here", "tensorboard/earlier", "trials/0003/gone"):
        amazon.put(f"{own}/{name}", b"1")  # another machine may have made the first one
    MirrorCallback(Place(uri)).on_search_end(ended(run))
    asked = amazon.asked
    assert any("continuation-token" in one for one in asked)
    written = {one.split("?")[0] for one in asked if one.startswith("POST /bucket")}
    assert written == {f"POST /bucket/{own}/{name}" for name in ("many/1050", "search.yaml", "split.json")}
    assert sorted(one.split(" ")[1] for one in asked if one.startswith("DELETE")) == gone


def test_what_weights_leave_behind_is_no_object(amazon: Amazon, run: RunFolder) -> None:
    uri = amazon.uri("bucket/runs")
    mirror(run, uri)
    run.discard_weights(0)
    MirrorCallback(Place(uri)).on_search_end(ended(run))
    kept = amazon.contents(f"runs/{prefix(run)}/")
    assert not any(name.endswith("safetensors") for name in kept)


def test_a_file_that_is_gone_before_it_was_copied_is_not_written_empty(
    amazon: Amazon, tmp_path: Path
) -> None:
    place = Place(amazon.uri("bucket/runs"))
    with pytest.raises(FileNotFoundError):
        place.write("weights", tmp_path / "gone")
    assert amazon.contents() == {}


def test_the_run_of_another_search_is_left_alone(
    amazon: Amazon, run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = amazon.uri("bucket/runs")
    mirror(run, uri)
    before = amazon.contents()
    other = begun_run(tmp_path / "other")
    later = other.search().started_at.replace(year=2030)
    other.write_search(other.search().model_copy(update={"started_at": later}))
    callback = MirrorCallback(Place(uri))
    callback.on_search_start(other, other.search())
    with pytest.raises(
        MachineError, match=r"another search benign\w+/\w+, which is left as it is; nothing of"
    ):
        callback.on_search_end(ended(other))
    assert amazon.contents() == before
    runs = tmp_path / "runs"
    begun_run(runs / prefix(run)).write_search(other.search())
    assert main(["fetch", uri, "--runs", str(runs)]) == 2
    assert "holds another run, which is left as it is" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fetch", "s3://bucket/runs", "second"], "no run 'second' at .*Known: benign_malignant/first"),
        (["fetch", "s3://absent/runs"], "no run 'latest' at .*Known: none"),
        (["leaderboard", "s3://bucket/runs/benign_malignant/first"], "copy it here first.*orchestrate fetch"),
        (["report", "s3://bucket/runs"], "copy it here first.*orchestrate fetch URI TASK/NAME"),
        (["resume", "s3://bucket/runs"], "copy it here first.*orchestrate fetch URI TASK/NAME"),
    ],
)
def test_what_cannot_be_read_from_a_storage_is_said(
    amazon: Amazon, run: RunFolder, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    mirror(run, amazon.uri("bucket/runs"))
    given = [amazon.uri(word.removeprefix("s3://")) if "://" in word else word for word in words]
    assert main(given) == 2
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


def test_a_name_that_leads_out_of_the_run_is_not_fetched(
    amazon: Amazon, run: RunFolder, tmp_path: Path
) -> None:
    mirror(run, amazon.uri("bucket/runs"))
    amazon.put(f"runs/{prefix(run)}/../../../outside", b"1")
    runs = tmp_path / "a" / "b" / "runs"
    assert main(["fetch", amazon.uri("bucket/runs"), "--runs", str(runs)]) == 2
    assert not list(tmp_path.rglob("outside"))
