"""A year later: a shipped model on shifted patients, recalibrated, and searched again from where it ended."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from orchestrator import (
    SearchResult,
    compare_models,
    evaluate_bundle,
    recalibrate_bundle,
    run_search,
)
from results.ensembles.out_of_fold import out_of_fold_of
from results.errors import ExportError
from results.scores.set_shift import SetShift
from trainables.data.phantom import make_phantom
from trainables.data.split_record import TEST, Split, read_split

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

# Closed-form heads on frozen features: a trial is one epoch, and takes about a second.
TASK = "benign_malignant"
QUICK = {
    "address": "local",
    "may_download": False,
    "workers": 2,
    "folds": 3,
    "fixed_params": {
        "model.backbone": "efficientnet_lite0",
        "classical.name": "logistic",
        "model.trained_stages": 0,
    },
}
FIRST_YEAR, NEXT_BATCH, SECOND_YEAR = (0, 40), (40, 64), (64, 92)  # patients of the phantom


def patients(first: int, last: int, *, shifted: bool = False) -> dict[str, np.ndarray]:
    """Two lesions of each patient; shifted ones have less contrast, more brightness and more noise."""
    raw = make_phantom(patients=last, lesions_per_patient=2, size_px=64, subtlety=0.2, seed=3)
    is_lesion = raw.labels > 0
    assert raw.patients is not None
    own = np.flatnonzero(is_lesion & (np.unique(raw.patients, return_inverse=True)[1] >= first))
    images = raw.images[own].astype(np.float64)
    if shifted:
        noise = np.random.default_rng(0).normal(0, 3000, images.shape)
        images = np.clip(0.6 * images + 0.25 * 65535 + noise, 0, 65535)
    return {
        "images": images.round().astype(np.uint16),
        "labels": np.isin(raw.labels[own], (2, 4)).astype(np.int64),
        "patient": raw.patients[own],
    }


def write(path: Path, *sets: dict[str, np.ndarray]) -> Path:
    np.savez(path, **{name: np.concatenate([one[name] for one in sets]) for name in sets[0]})
    return path


def figures(shift: SetShift | None) -> set[str]:
    """Names of what has shifted beyond chance."""
    assert shift is not None
    return {one.figure for one in shift.figures if one.is_found}


def auc_on(result: SearchResult, groups: set[str]) -> float:
    """AUC out of fold of the shipped ensemble, on the images of some patients."""
    predictions, _ = out_of_fold_of(result.run, ensemble="best", trial=None)
    own = np.isin(predictions.groups, sorted(groups))
    found = float(roc_auc_score(predictions.labels[own], predictions.probabilities[own, 1]))
    print(f"AUC {found:.3f} on {own.sum()} images of the second year")
    return found


def sealed(split: Split) -> set[str]:
    return {group for group, part in split.fold_of_group.items() if part == TEST}


def test_a_year_of_shifted_patients_from_the_first_search_to_the_second(tmp_path: Path) -> None:
    year_one = patients(*FIRST_YEAR)
    later = patients(*SECOND_YEAR, shifted=True)
    new = write(tmp_path / "year_two.npz", later)
    places = {"runs": tmp_path / "runs", "store": tmp_path / "store"}

    first = run_search(
        TASK, **QUICK, **places, data=write(tmp_path / "year_one.npz", year_one), name="year_one", trials=4
    )
    bundle = first.export(tmp_path / "bundle")
    before = read_split(first.run.split_file)

    same_scanner = write(tmp_path / "same_scanner.npz", patients(*NEXT_BATCH))
    unshifted = evaluate_bundle(bundle, same_scanner, store=places["store"])
    shifted = evaluate_bundle(bundle, new, store=places["store"])
    assert figures(unshifted.shift) == set()
    assert {"edges", "network features"} <= figures(shifted.shift)
    assert shifted.metrics["auc"].estimate < unshifted.metrics["auc"].estimate - 0.05
    assert str(shifted.shift and shifted.shift.text).startswith("Largely shifted")

    report = recalibrate_bundle(bundle, new, tmp_path / "recalibrated", store=places["store"])
    local = report.bundle.manifest.recalibration
    assert local is not None
    assert local.groups == SECOND_YEAR[1] - SECOND_YEAR[0]
    with pytest.raises(ExportError, match="calibrated on; give data that it never saw"):
        evaluate_bundle(tmp_path / "recalibrated", new, store=places["store"])

    looked_at = first.evaluate()
    grown = write(tmp_path / "both_years.npz", later, year_one)  # new ones first, so that all rows move
    second = run_search(
        TASK, **{**QUICK, "folds": 4}, **places, data=grown, name="year_two", start_from="year_one", trials=4
    )
    check_parts(before, read_split(second.run.split_file), set(later["patient"]))
    check_first_points(first, second)

    opened = second.evaluate()
    assert auc_on(second, set(later["patient"])) > 0.5  # so few do not show that it is better than the first
    assert (looked_at.opening, opened.opening) == (1, 2)
    assert opened.images > looked_at.images
    result = (shifted.metrics["auc"].estimate, unshifted.metrics["auc"].estimate)
    print(f"AUC of the first bundle: shifted {result[0]:.3f}, as before {result[1]:.3f}")
    better = compare_models(["year_two", "year_one"], runs=places["runs"])
    known = [group for group, part in before.fold_of_group.items() if part != TEST]
    assert better.groups == len(known)
    assert any("both runs know" in note for note in better.notes)


def check_parts(before: Split, after: Split, new: set[str]) -> None:
    """Patients of the first year stay in their parts, three folds stay three, new ones are cut likewise."""
    kept = {group: after.fold_of_group[group] for group in before.fold_of_group}
    assert kept == dict(before.fold_of_group)
    assert set() < sealed(before) < sealed(after)
    assert after.folds == 3
    assert set(after.fold_of_group) - set(kept) == new
    assert {after.fold_of_group[group] for group in new} == {0, 1, 2, TEST}


def check_first_points(first: SearchResult, second: SearchResult) -> None:
    """The best trials of the first search are the first of the second, the best one before the others."""
    ranked = [row.trial for row in first.ranking() if row.trial is not None]
    earlier = [record for record in second.records if record.recipe.startswith("year_one:")]
    assert [record.number for record in earlier] == list(range(len(earlier)))
    assert len(earlier) == 2  # half of the trials
    assert earlier[0].recipe == f"year_one:{ranked[0]}"
    configs = {record.number: record.config for record in first.records}
    for record in earlier:
        assert record.config == configs[int(record.recipe.partition(":")[2])]
        assert record.state == "complete"
