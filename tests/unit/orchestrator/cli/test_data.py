"""`orchestrate data audit` and `orchestrate data describe`, as they are typed."""

import json
from pathlib import Path

import numpy as np
import pytest
from audited_sets import textured_set

from benchmarks.changed_copies import brightened
from orchestrator.cli.main import main


@pytest.fixture
def with_a_copy(tmp_path: Path) -> Path:
    raw = textured_set()
    file = tmp_path / "set.npz"
    images = np.concatenate([raw.images, brightened(raw.images[7])[None]])
    assert raw.patients is not None
    np.savez(
        file,
        images=images,
        labels=np.append(raw.labels, raw.labels[7]),
        patient=np.append(raw.patients, "other"),
    )
    return file


def typed(action: str, data: Path, *more: str) -> int:
    store = str(data.parent / "store")
    return main(["data", action, str(data), "--task", "benign_malignant", "--store", store, *more])


def test_the_audit_prints_findings_and_shortcuts(
    with_a_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("audit", with_a_copy) == 0
    printed = capsys.readouterr().out
    assert "WARNING, copies: 1 pair of images of different patients" in printed
    assert "row 7 (patient p03) and row 40 (patient other)" in printed
    assert "the mean brightness" in printed
    assert typed("audit", with_a_copy, "--strict") == 2


def test_the_audit_is_json_and_csv(with_a_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed("audit", with_a_copy, "--format", "json")
    record = json.loads(capsys.readouterr().out)
    assert [finding["check"] for finding in record["findings"]] == ["copies"]
    typed("audit", with_a_copy, "--format", "csv")
    header, first, *rest = capsys.readouterr().out.splitlines()
    assert header.startswith("check,is_warning,what,count,examples,auc")
    assert first.startswith("copies,")
    assert all(row.startswith("shortcut score,") for row in rest)


def test_a_description_is_printed_and_written(with_a_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = with_a_copy.parent / "set page.html"
    assert typed("describe", with_a_copy, "--out", str(page)) == 0
    assert "41 images of 21 patients" in capsys.readouterr().out
    assert page.read_text().startswith("<!doctype html>")
    typed("describe", with_a_copy, "--format", "json")
    assert json.loads(capsys.readouterr().out)["patients"] == 21
    typed("describe", with_a_copy, "--format", "csv")
    assert "column,value,benign,malignant,patients" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "audit", "no.npz", "--task", "idc"], "no data at no.npz"),
        (["data", "audit", "phantom", "--task", "benign_malignan"], "did you mean 'benign_malignant'"),
        (["data", "audit", "phantom", "--task", "tasks.yaml"], "tasks.yaml"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_data_without_a_split_are_audited_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = textured_set()
    file = tmp_path / "set.npz"
    part = np.where(np.arange(40) >= 31, "test", "train")
    np.savez(file, images=raw.images, labels=raw.labels, patient=raw.patients, split=part)
    assert typed("audit", file) == 0
    printed = capsys.readouterr()
    assert "WARNING: no search can split these data" in printed.err
    assert "1 patient is in two parts" in printed.out
