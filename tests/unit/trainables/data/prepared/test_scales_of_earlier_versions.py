"""Sets whose scale an earlier version did not declare are refused, by searches and where sets are joined."""

import json
from pathlib import Path
from typing import Any

import pytest
from dicom_tree import write_tree

from orchestrator import join_sets, prepare_set
from trainables.common.errors import DataError
from trainables.config.tasks import TASKS
from trainables.data.prepared_set import FACTS_FILE
from trainables.data.sources import load_patch_set

SAID = r"was prepared at 1\.4 mm a pixel by an earlier version, .*: prepare it again"


def rewrite(folder: Path, **changes: Any) -> None:
    facts = json.loads((folder / FACTS_FILE).read_text())
    (folder / FACTS_FILE).write_text(json.dumps(facts | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tree = write_tree(tmp_path / "tree", 4)
    prepare_set("dicom", tree, tmp_path / "set", mm_per_px=1.4, is_prepared=False, workers=1)
    facts = json.loads((tmp_path / "set" / FACTS_FILE).read_text())
    rewrite(tmp_path / "set", settings=facts["settings"] | {"steps": None})
    return tmp_path / "set"


def test_a_search_refuses_such_a_set(folder: Path) -> None:
    with pytest.raises(DataError, match=SAID):
        load_patch_set(
            str(folder), task=TASKS["benign_malignant"], label_codes=None, store=folder.parent / "store"
        )


def test_such_a_set_is_not_joined_and_one_that_was_is_refused(folder: Path, tmp_path: Path) -> None:
    other = write_tree(tmp_path / "other tree", 4)
    prepare_set("dicom", other, tmp_path / "other", size=(48, 32), is_prepared=False, workers=1)
    with pytest.raises(DataError, match=f"^set {SAID}"):
        join_sets([folder, tmp_path / "other"], tmp_path / "joined")
    settings = json.loads((folder / FACTS_FILE).read_text())["settings"]
    part = {"name": "set", "fingerprint": "", "settings": settings, "collection": "dicom"}
    rewrite(tmp_path / "other", joined=[part], settings={"steps": None})
    with pytest.raises(DataError, match=SAID):
        join_sets([tmp_path / "other", tmp_path / "other"], tmp_path / "joined")
