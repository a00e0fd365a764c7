"""Steps of another type are refused in one sentence, whether they are typed, stored or given from Python."""

import re
from pathlib import Path

import numpy as np
import pytest

from orchestrator.api.prepared_sets import prepare_set
from orchestrator.cli.main import main
from trainables.common.errors import ConfigError
from trainables.data.mammogram.preparation import Preparation, PreparationError

WRONG = {
    "remove_pectoral=no": "remove_pectoral must be true or false, found no",
    "remove_pectoral=0": "remove_pectoral must be true or false, found 0",
    "crop_breast=off": "crop_breast must be true or false, found off",
    "margin=abc": "margin must be a number, found abc",
    "margin=true": "margin must be a number, found True",
    "margin=NaN": "margin must be a number, found nan",
    "margin=none": "margin must be a number, found None",
    "spacing_mm=0.07": "spacing_mm must be two positive numbers, found 0.07",
    'spacing_mm=[0.07,"x"]': r"spacing_mm must be two positive numbers, found \(0.07, 'x'\)",
    "spacing_mm=[0.07,Infinity]": r"spacing_mm must be two positive numbers, found \(0.07, inf\)",
    "chest_wall=up": "chest_wall must be left, right or None, found up",
}


@pytest.mark.parametrize("step", WRONG)
def test_a_step_of_another_type_is_refused_in_one_sentence(
    tmp_path: Path, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "prepare", "dicom", str(tmp_path), "--out", str(tmp_path / "set"), "--step", step]
    assert main(command) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    assert re.search(f"steps of a mammogram: {WRONG[step]}", said), said


@pytest.mark.parametrize(
    ("text", "value"), [("False", False), ("FALSE", False), ("false", False), ("True", True), ("true", True)]
)
def test_truth_values_are_typed_in_any_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: bool
) -> None:
    seen = dict[str, object]()

    def stand_in(*_: object, steps: dict[str, object], **__: object) -> None:
        seen.update(steps)
        raise ConfigError("enough")

    monkeypatch.setattr("orchestrator.api.prepared_sets.prepare_set", stand_in)
    command = ["data", "prepare", "dicom", str(tmp_path), "--out", str(tmp_path / "set")]
    assert main([*command, "--step", f"remove_pectoral={text}", "--step", "chest_wall=None"]) == 2
    assert seen == {"remove_pectoral": value, "chest_wall": None}


def test_a_text_from_python_is_no_truth_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="blank_background must be true or false, found False"):
        prepare_set("dicom", tmp_path, tmp_path / "set", steps={"blank_background": "False"})


def test_sizes_are_whole_and_stored_steps_are_read_as_before() -> None:
    with pytest.raises(PreparationError, match=r"size must be two whole numbers, found \(8.5, 8\)"):
        Preparation.from_dict({"size": [8.5, 8]})
    with pytest.raises(PreparationError, match="size must be two whole numbers, found 8"):
        Preparation.from_dict({"size": 8})
    for steps in (
        Preparation(),
        Preparation(size=(64, 48), mm_per_px=1, spacing_mm=(0.07, 0.07), chest_wall=None),
        Preparation(margin=np.float64(0.02)),
    ):
        assert Preparation.from_dict(steps.as_dict()) == steps
