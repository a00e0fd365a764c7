"""Features that lie in the store are a second look for copies; nothing is computed for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audited_sets import examined, textured, textured_set, with_copies

from benchmarks.changed_copies import brightened
from orchestrator.audit import feature_copies, near_copies
from orchestrator.audit.audit import audit_set
from orchestrator.audit.digests import digest_images
from orchestrator.audit.examined_set import ExaminedSet
from orchestrator.audit.feature_copies import StoredVectors, alike_pairs, stored_vectors
from orchestrator.audit.near_copies import find_near_copies
from orchestrator.audit.stored_audits import FOLDER, audit_once
from trainables.features.keys import PrefixKey
from trainables.features.store import PrefixStore
from trainables.models.taps import Tap
from trainables.preprocessing.views import IDENTITY

TASK = "benign_malignant"
WIDTH = 16


def vectors_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def store_features(looked_at: ExaminedSet, store: Path, vectors: np.ndarray, **changes: Any) -> None:
    """Features of a set in the store, as a search leaves them."""
    import torch

    values: dict[str, Any] = {
        "fingerprint": looked_at.patch_set.fingerprint,
        "rows": looked_at.rows.rows,
        "backbone": "a_net",
        "weights": "0" * 64,
        "transform": {"size_px": 32},
    }
    key = PrefixKey(**(values | changes))
    tap = Tap("top", is_pooled=True)
    PrefixStore(store).views(
        key,
        [IDENTITY],
        tap,
        also=(),
        compute=lambda view, taps: iter([(0, {tap: torch.from_numpy(vectors)})]),
    )


def test_pairs_of_one_patient_count_only_if_their_labels_differ() -> None:
    vectors = vectors_of(40)
    vectors[30] = vectors[7] + 0.01
    groups, labels = np.arange(40).astype(str), np.zeros(40, np.int64)
    found = alike_pairs(vectors, groups, labels, least=0.9)
    assert found.pairs.tolist() == [[7, 30]]
    assert found.cosines[0] > 0.99
    groups[30] = groups[7]
    assert len(alike_pairs(vectors, groups, labels, least=0.9).pairs) == 0
    labels[7] = 1
    assert alike_pairs(vectors, groups, labels, least=0.9).pairs.tolist() == [[7, 30]]


def test_a_pair_that_features_propose_is_found_though_its_hashes_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = textured(12)
    both = np.concatenate([images, brightened(images[3])[None], images[5][None, ::-1]])
    small = digest_images(both, np.arange(14), 255.0).small
    groups, labels = np.arange(14).astype(str), np.zeros(14, np.int64)
    monkeypatch.setattr(near_copies, "_ALIKE", 2.0)
    assert find_near_copies(small, groups, labels).pairs == ()
    proposed = np.array([[3, 12], [1, 2], [5, 13]])
    found = find_near_copies(small, groups, labels, proposed=proposed).pairs
    assert {(one.first, one.second, one.is_turned) for one in found} == {(3, 12, False), (5, 13, True)}


def test_other_pictures_with_the_same_features_are_a_remark_and_copies_a_warning(tmp_path: Path) -> None:
    raw = textured_set()
    looked_at = examined(with_copies(raw, [7], [brightened(raw.images[7])], "planted"), tmp_path, TASK)
    vectors = vectors_of(41)
    vectors[40], vectors[20] = vectors[7] + 0.01, vectors[11] + 0.01
    copy, remark = audit_set(looked_at, features=StoredVectors("", "a_net", vectors)).findings
    assert (copy.is_warning, copy.count, "same picture" in copy.text) == (True, 1, True)
    assert (remark.check, remark.is_warning, remark.count) == ("copies", False, 1)
    assert "1 pair of other images has nearly the same features" in remark.text
    assert "a_net" in remark.text
    assert remark.examples[0].startswith("row 11 (patient p05) and row 20")


def test_only_features_of_this_set_by_pretrained_weights_are_taken(tmp_path: Path) -> None:
    looked_at = examined(textured_set(), tmp_path / "data", TASK)
    assert stored_vectors(looked_at, tmp_path) is None
    store_features(looked_at, tmp_path, vectors_of(40), weights="random")
    store_features(looked_at, tmp_path, vectors_of(40), fingerprint="f" * 64)
    store_features(looked_at, tmp_path, vectors_of(39), rows=looked_at.rows.rows[:39])
    assert stored_vectors(looked_at, tmp_path) is None
    store_features(looked_at, tmp_path, vectors_of(40, seed=1))
    found = stored_vectors(looked_at, tmp_path)
    assert found is not None
    assert found.backbone == "a_net"
    np.testing.assert_allclose(found.vectors, vectors_of(40, seed=1), atol=2e-3)
    assert str(IDENTITY) == feature_copies._IDENTITY
    (file,) = (tmp_path / "prefix").glob(f"{found.name}.npy")
    file.write_bytes(file.read_bytes()[:-8])
    assert stored_vectors(looked_at, tmp_path) is None


def test_a_set_is_audited_once_more_when_its_features_are_stored(tmp_path: Path) -> None:
    looked_at = examined(textured_set(), tmp_path / "data", TASK)
    audit_once(looked_at, tmp_path)
    vectors = vectors_of(40)
    vectors[20] = vectors[11]
    store_features(looked_at, tmp_path, vectors)
    for _ in range(2):
        (finding,) = audit_once(looked_at, tmp_path).findings
        assert "nearly the same features" in finding.text
    assert len(list((tmp_path / FOLDER).iterdir())) == 2


def test_tables_and_small_sets_have_no_second_look(tmp_path: Path) -> None:
    looked_at = examined(textured_set(), tmp_path / "data", TASK)
    store_features(looked_at, tmp_path, vectors_of(40))
    few = replace(looked_at, rows=replace(looked_at.rows, rows=looked_at.rows.rows[:5]))
    assert stored_vectors(few, tmp_path) is None
