"""What disks, copies and hands do to the files of a run: the file is named, and the rest goes on."""

import datetime
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from records import search_record
from simulated_run import make_run

from results.errors import DamagedFileError, RecordExistsError, RunError
from results.run.damage import damaged_trials
from results.run.records import OutOfFold, TrialRecord
from results.run.refit_records import read_refit
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard
from trainables.common.errors import ConfigError
from trainables.common.plain_yaml import PlainYamlError, load_yaml
from trainables.runtime.checkpoint import read_fold_weights

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def predictions(seed: int = 0) -> OutOfFold:
    random = np.random.default_rng(seed)
    positive = random.uniform(size=40)
    return OutOfFold(
        rows=np.arange(40),
        labels=np.arange(40) % 2,
        folds=np.arange(40) // 2 % 5,
        groups=np.array([f"p{row // 2}" for row in range(40)]),
        probabilities=np.stack([1 - positive, positive], axis=1).astype(np.float32),
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path, {number: predictions(number) for number in range(3)})


def edited(old: str, new: str) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return edit


RECORDS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[:100],
    "text": lambda content: b"hello",
    "NULs": lambda content: bytes(len(content)),
    "an array": lambda content: b"[1, 2]",
    "not UTF-8": lambda content: b"\xff\xfe" + content,
    "NaN": edited('"seed": 0', '"seed": NaN'),
    "unknown key": edited('"seed": 0', '"seed": 0, "more": 1'),
    "another number": edited('"number": 1', '"number": 99'),
    "a value that cannot be": edited('"value": 0', '"value": 2'),
}


@pytest.mark.parametrize("damage", RECORDS)
def test_a_damaged_record_is_named_and_the_other_trials_are_still_ranked(run: RunFolder, damage: str) -> None:
    path = run.record_file(1)
    path.write_bytes(RECORDS[damage](path.read_bytes()))
    with pytest.raises(DamagedFileError, match=r"trials/0001/record\.json is damaged: .*orchestrate resume"):
        run.record(1)
    assert [record.number for record in run.records()] == [0, 2]
    assert list(damaged_trials(run)) == [1]
    assert {row.trial for row in leaderboard(run)} == {0, 2, None}


def test_a_record_of_other_data_is_left_out_of_the_leaderboard_and_named(run: RunFolder) -> None:
    path = run.record_file(2)
    path.write_bytes(path.read_bytes().replace(b'"abc"', b'"xyz"'))
    assert {row.trial for row in leaderboard(run)} == {0, 1, None}
    assert "its trial ran on data xyz, the search is on abc" in str(damaged_trials(run)[2])


def test_a_complete_record_whose_value_is_gone_is_damaged(tmp_path: Path) -> None:
    run = make_run(tmp_path, {0: predictions()})
    path = run.record_file(0)
    content = path.read_text()
    value = content[content.index('"value"') : content.index(",", content.index('"value"'))]
    path.write_text(content.replace(value, '"value": null'))
    with pytest.raises(DamagedFileError, match="it is complete and has no value"):
        run.record(0)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


UNREADABLE: dict[Callable[[Path], None], str] = {
    folder: "it is no regular file",
    link_loop: "Too many levels of symbolic links",
    pipe: "it is no regular file",
}


@pytest.mark.parametrize("harm", UNREADABLE)
@pytest.mark.parametrize("reads_whole", [True, False])
@pytest.mark.parametrize("name", ["record.json", "oof.npz"])
def test_a_file_that_cannot_be_read_costs_its_own_trial_alone_and_a_pipe_is_not_waited_for(
    run: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    reads_whole: bool,
    harm: Callable[[Path], None],
) -> None:
    monkeypatch.setattr("results.run.damage._READ_WHOLE", 3 if reads_whole else 2)
    harm(run.trial(1) / name)
    assert f"trials/0001/{name} is damaged: {UNREADABLE[harm]}" in str(damaged_trials(run)[1])
    assert {row.trial for row in leaderboard(run)} == {0, 2, None}


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def with_array(name: str, change: Callable[[OutOfFold], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        found = predictions()
        arrays = {own: getattr(found, own) for own in OutOfFold.ARRAYS}
        np.savez(path, **(arrays | {name: change(found)}))

    return write


def without_labels(path: Path) -> None:
    np.savez(path, rows=np.arange(3))


def bad_checksum(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
    content[first.header_offset + 80] ^= 255
    path.write_bytes(content)


PREDICTIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncated, "not a zip file"),
    "empty": (lambda path: path.write_bytes(b""), "No data left"),
    "text": (lambda path: path.write_bytes(b"hello, this is no archive"), "pickled"),
    "a flipped byte": (bad_checksum, "."),
    "an array is missing": (without_labels, "it lacks labels"),
    "pickled objects": (with_array("groups", lambda found: np.array([{}] * 40)), "Object arrays"),
    "NaN": (
        with_array("probabilities", lambda found: np.full_like(found.probabilities, np.nan)),
        "are not numbers",
    ),
    "a sum of 2": (with_array("probabilities", lambda found: 2 * found.probabilities), "do not sum to 1"),
    "too few rows": (with_array("labels", lambda found: found.labels[:-1]), "one entry for each image"),
    "labels beyond": (with_array("labels", lambda found: found.labels + 5), "labels beyond its 2 classes"),
    "text for numbers": (
        with_array("rows", lambda found: found.rows.astype(str)),
        "its arrays are not of numbers",
    ),
}


@pytest.mark.parametrize("damage", PREDICTIONS)
def test_damaged_predictions_are_named_and_the_other_trials_are_still_ranked(
    run: RunFolder, damage: str
) -> None:
    harm, reason = PREDICTIONS[damage]
    harm(run.trial(0) / "oof.npz")
    with pytest.raises(DamagedFileError, match=rf"trials/0000/oof\.npz is damaged: .*{reason}"):
        run.out_of_fold(0)
    assert list(damaged_trials(run)) == [0]
    assert {row.trial for row in leaderboard(run)} == {1, 2, None}


def of_trials_with_digests(run: RunFolder) -> None:
    """Write the records as a worker does, who knows the predictions."""
    for record in run.records():
        digest = run.out_of_fold(record.number).digest
        run.write_record(record.model_copy(update={"predictions_digest": digest}))


def flipped(found: OutOfFold) -> OutOfFold:
    return replace(found, labels=1 - found.labels)


def in_one_fold(found: OutOfFold) -> OutOfFold:
    return replace(found, folds=found.folds * 0)


def of_other_patients(found: OutOfFold) -> OutOfFold:
    return replace(found, groups=found.groups[::-1].copy())


OTHERS: dict[str, Callable[[OutOfFold], OutOfFold]] = {
    "flipped labels": flipped,
    "fewer rows": lambda found: found.where(np.arange(20)),
    "another order": lambda found: replace(found, rows=found.rows[::-1].copy()),
    "other folds": in_one_fold,
    "other patients": of_other_patients,
    "those of another trial": lambda found: predictions(7),
}


@pytest.mark.parametrize("damage", OTHERS)
def test_whole_predictions_that_are_not_those_of_the_record_are_named(run: RunFolder, damage: str) -> None:
    of_trials_with_digests(run)
    assert damaged_trials(run) == {}
    run.write_out_of_fold(0, OTHERS[damage](predictions()))
    with pytest.raises(DamagedFileError, match=r"oof\.npz is damaged: its predictions are not those that"):
        run.out_of_fold(0)
    assert list(damaged_trials(run)) == [0]
    assert {row.trial for row in leaderboard(run)} == {1, 2, None}


def test_predictions_of_an_earlier_version_are_read_without_a_digest(run: RunFolder) -> None:
    run.write_out_of_fold(0, predictions(7))
    assert run.out_of_fold(0).digest == run.predictions_digest(0) == predictions(7).digest


def test_predictions_are_the_same_however_they_are_packed(run: RunFolder) -> None:
    of_trials_with_digests(run)
    found = run.out_of_fold(0)
    np.savez(run.predictions_file(0), **{name: getattr(found, name) for name in OutOfFold.ARRAYS})
    assert run.out_of_fold(0).digest == found.digest
    assert replace(found, rows=found.rows + 1).digest != found.digest
    assert replace(found, rows=found.rows.astype(np.int32)).digest != found.digest


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "a flipped byte"])
def test_of_very_many_trials_check_sums_alone_tell_what_a_disk_has_damaged(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    read: list[int] = []
    monkeypatch.setattr("results.run.damage._READ_WHOLE", 2)
    monkeypatch.setattr(RunFolder, "predictions_of", lambda run, record: read.append(record.number))
    assert damaged_trials(run) == {}
    PREDICTIONS[damage][0](run.trial(1) / "oof.npz")
    assert list(damaged_trials(run)) == [1]
    assert "trials/0001/oof.npz is damaged: " in str(damaged_trials(run)[1])
    run.predictions_file(2).unlink()
    assert list(damaged_trials(run)) == [1, 2]
    assert read == []


@pytest.mark.parametrize("name", ["²", "7", "notes", "-001", "00003"])
def test_other_names_beside_the_trials_are_not_ours(run: RunFolder, name: str) -> None:
    (run.path / "trials" / name).mkdir()
    assert run.trial_numbers() == [0, 1, 2]


def test_a_file_with_the_name_of_a_trial_is_not_ours(run: RunFolder) -> None:
    (run.path / "trials" / "0500").write_text("")
    assert [record.number for record in run.records()] == [0, 1, 2]
    assert run.record(500) is None


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
SEARCHES = {
    "not UTF-8": (b"name: gr\xf6\xdfer", "it is not text in UTF-8"),
    "an alias bomb": (BOMB.encode(), "it holds an alias"),
    "too deep": (b"[" * 50_000, "too deeply nested|"),
    "an object": (b"a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    "truncated": (b"request: {task: benign", "while parsing"),
    "a list": (b"[1, 2]", "."),
    "empty": (b"", "."),
    "a date that is none": (b"a: 2026-13-45", "month"),
}


@pytest.mark.parametrize("damage", SEARCHES)
def test_a_search_that_cannot_be_read_says_so_in_one_sentence(tmp_path: Path, damage: str) -> None:
    content, reason = SEARCHES[damage]
    (tmp_path / "search.yaml").write_bytes(content)
    with pytest.raises(RunError, match=rf"search\.yaml cannot be read: .*{reason}") as caught:
        RunFolder(tmp_path).search()
    assert "\n" not in str(caught.value)


def test_a_search_is_read_anew_when_its_file_has_changed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for trials in (4, 5):
        run.write_search(search_record(trials=trials))
        assert run.search().request.trials == trials


def test_values_that_occur_twice_are_written_twice_and_read_again(tmp_path: Path) -> None:
    shared = ["vgg16"]
    run = RunFolder(tmp_path)
    run.write_search(search_record(space_context={"one": shared, "other": shared}))
    assert "*" not in run.search_file.read_text()
    assert run.search().space_context == {"one": shared, "other": shared}


def test_yaml_without_aliases_is_read() -> None:
    assert load_yaml(b"{trials: 24, note: 'a * b'}") == {"trials": 24, "note": "a * b"}
    with pytest.raises(PlainYamlError, match="it holds an alias"):
        load_yaml(BOMB.encode())


def test_the_first_record_of_a_trial_is_never_replaced_by_another_first_one(run: RunFolder) -> None:
    before = run.record_file(1).read_bytes()
    other = TrialRecord(
        number=1, state="failed", cause="nan", config={}, fingerprint="abc", seed=0, finished_at=NOW
    )
    with pytest.raises(RecordExistsError, match="trial 1 has a record already, which is kept"):
        run.add_record(other)
    assert run.record_file(1).read_bytes() == before
    run.add_record(other.model_copy(update={"number": 7}))
    assert run.record(7) is not None
    assert [path.name for path in run.trial(7).iterdir()] == ["record.json"]


def test_a_file_system_without_hard_links_keeps_the_first_record_too(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    record = run.record(1)
    assert record is not None
    with pytest.raises(RecordExistsError, match="trial 1 has a record already"):
        run.add_record(record)
    run.add_record(record.model_copy(update={"number": 8}))
    assert run.record(8) is not None


def test_a_file_system_without_locks_says_what_to_do(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(RunError, match=r"no lock can be taken.*-o flock.*or put --runs on another"),
        run.exclusive(),
    ):
        pass


def test_damaged_weights_and_missing_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "0.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(ConfigError, match=r"0\.safetensors is damaged: .*or take another trial"):
        read_fold_weights(tmp_path)
    (tmp_path / "0.safetensors").rename(tmp_path / "2.safetensors")
    with pytest.raises(ConfigError, match=r"lacks 0\.safetensors, the weights of one of its models"):
        read_fold_weights(tmp_path)


def test_a_damaged_refit_is_named(run: RunFolder) -> None:
    folder = run.trial(0) / "refit"
    folder.mkdir()
    (folder / "refit.json").write_text("{")
    with pytest.raises(DamagedFileError, match=r"refit\.json is damaged: .*: orchestrate refit .* --trial 0"):
        read_refit(run, 0)


def test_the_module_reads_what_it_wrote() -> None:
    assert RunFolder(Path("a b")).resume_command == "orchestrate resume 'a b'"


def test_a_folder_that_cannot_be_written_is_not_blamed_on_its_file_system(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("trainables.features.locks.open_own", refuse)
    said = r"Read-only file system; a search writes to its folder: free it, or copy the run to one"
    with pytest.raises(RunError, match=said), run.exclusive():
        pass
