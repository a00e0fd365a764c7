"""A bundle calibrated on local data: a new bundle whose graph has another slope and intercept at its end.

Weights and everything before the calibration stay to the bit. The new file is compared with the old one on
the local images before it is kept.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.errors import ExportError
from results.export.bundle_folder import check_free, new_bundle
from results.export.companions import digests_of_companions
from results.export.descriptions import write_manifest
from results.export.exported_model import Bundle, load_bundle
from results.export.manifest import CARD_DATA_FILE, CARD_FILE, MANIFEST_FILE, MODEL_FILE, UNITS_FILE, Manifest
from results.export.manifest_parts import Recalibration
from results.export.model_file import describe_model, sha256_of
from results.export.outside_data import OutsideData
from results.export.training_reference import read_reference, write_reference
from results.scores.calibration import Platt
from results.scores.calibration_update import CalibrationUpdate, composed, fit_update
from results.scores.decision_rule import BALANCED, balanced_threshold, best_threshold
from results.scores.metrics import METRICS, metric_named
from results.scores.operating_point import Operation, odds_shift, threshold_at, to_share_of
from results.scores.triage import TriageRule, fit_triage
from trainables.common.errors import OrchestrateError
from trainables.common.types import FloatArray

_SLOPE, _INTERCEPT = "1.platt.slope", "1.platt.intercept"  # ends of the names of the graph's constants
_TOLERANCE: Final = 1e-4  # of a probability, between the new file and the old one calibrated in numpy


@dataclass(frozen=True, slots=True)
class RecalibratedBundle:
    """What was written, and how it was fitted.

    Attributes:
        path: Folder of the new bundle.
        manifest: Its manifest.
        update: What changed of the calibration, whose logits are moved to the share of positives of the local
            data first where the bundle's are those at another prevalence.
        here: What moves the probabilities of the old bundle to the share of positives of the local data,
            where the update starts.
        probabilities: Probabilities of the new bundle for the local data, shape (n, 2).
    """

    path: Path
    manifest: Manifest
    update: CalibrationUpdate
    here: Platt
    probabilities: FloatArray


def recalibrate_bundle(
    path: Path, out: Path, data: OutsideData, operation: Operation, *, source: str, fingerprint: str
) -> RecalibratedBundle:
    """Fit calibration, threshold and triage on local data, and write a new bundle.

    Args:
        path: Folder of the bundle.
        out: Folder to write; must be missing or empty.
        data: Local data, as the bundle predicts them.
        operation: What is asked of the decisions; where it names no operating point, prevalence or triage,
            those of the bundle are kept. Without any operating point the threshold is the one that is best
            on the local data for the metric that the bundle's was chosen for.
        source: Name of the local data.
        fingerprint: Fingerprint of the local data.

    Raises:
        ExportError: If `out` holds something or cannot be written, the bundle has more classes than two, its
            threshold was chosen for a metric that is not known here, or the new file does not predict what it
            should. Nothing is left behind then.
        ScoreError: If there are too few patients for what is asked.
    """
    bundle = load_bundle(path)
    old = bundle.manifest
    if len(old.classes) != 2 or old.calibration is None:
        raise ExportError(
            f"{path} has no calibration of two classes that could be fitted again; search and export on the "
            "local data"
        )
    out = out.resolve()
    check_free(out)
    asked = Operation(
        at=operation.at or old.operation.at,
        prevalence=old.operation.prevalence if operation.prevalence is None else operation.prevalence,
        triage=operation.triage or old.operation.triage,
    )
    _check_metric(path, old, asked)
    here = to_share_of(data.labels, _prevalence_of(old, asked))
    update = fit_update(data.labels, here.apply(data.probabilities), data.groups)
    local = composed(here, update.calibration)
    shift = odds_shift(float(data.labels.mean()), asked.prevalence)
    change = local.moved(shift)
    calibrated = change.apply(data.probabilities)
    threshold, triage = _decisions(data, local, calibrated, asked, old.best_for)
    manifest = old.model_copy(
        update={
            "calibration": composed(old.calibration, change),
            "threshold": threshold,
            "thresholds": _own_thresholds(old, data, calibrated),
            "triage": triage,
            "operation": asked,
            "test": "nothing sealed" if old.test == "nothing sealed" else "not opened",
            "recalibration": _provenance(old, data, update, source, fingerprint),
            "created_at": datetime.now(UTC),
        }
    )
    with new_bundle(out) as folder:
        manifest = _write(path, folder, manifest, data.digests)
        _check(load_bundle(folder), bundle, change)
    return RecalibratedBundle(out, manifest, update, here, calibrated)


def _prevalence_of(old: Manifest, asked: Operation) -> float | None:
    """Prevalence that the bundle's probabilities are for, where another one is asked for or was."""
    if old.operation.prevalence is not None or asked.prevalence is None:
        return old.operation.prevalence
    return old.calibrated_share


def _check_metric(path: Path, old: Manifest, asked: Operation) -> None:
    """Refuse a threshold for a metric of the user's own that this process does not know."""
    if asked.at is not None:
        return
    try:
        metric_named(old.best_for)
    except OrchestrateError as error:
        raise ExportError(
            f"the threshold of {path} was chosen for {old.best_for}, which is not known here: {error}; "
            "recalibrate it where that metric can be imported"
        ) from error


def _decisions(
    data: OutsideData, local: Platt, calibrated: FloatArray, asked: Operation, best_for: str
) -> tuple[float, TriageRule | None]:
    """Threshold and triage on the local data, on probabilities at the prevalence that is asked for."""
    if asked.at is not None:
        threshold = threshold_at(data.labels, calibrated, asked.at, prevalence=asked.prevalence)
    elif best_for != BALANCED:
        threshold = best_threshold(data.labels, calibrated, metric=best_for)
    else:
        at_share = balanced_threshold(data.labels, local.apply(data.probabilities))
        shift = odds_shift(float(data.labels.mean()), asked.prevalence)
        both = np.array([[1 - at_share, at_share]])
        threshold = float(Platt(intercept=shift).apply(both)[0, 1])
    if asked.triage is None:
        return threshold, None
    # The model never saw these patients, and a calibration changes no order: the promise is exact.
    return threshold, fit_triage(
        data.labels, calibrated[:, 1], data.groups, asked.triage, threshold=threshold, is_exact=True
    )


def _own_thresholds(old: Manifest, data: OutsideData, calibrated: FloatArray) -> dict[str, float]:
    """Thresholds on the local data of the metrics that have their own; none of a metric unknown here."""
    return {
        name: best_threshold(data.labels, calibrated, metric=name)
        for name in old.thresholds
        if name in METRICS
    }


def _provenance(
    old: Manifest, data: OutsideData, update: CalibrationUpdate, source: str, fingerprint: str
) -> Recalibration:
    is_as_before, before = update.update == "nothing", old.recalibration
    return Recalibration(
        source=source,
        fingerprint=fingerprint,
        earlier=() if before is None else (*before.earlier, before.fingerprint),
        images=len(data.labels),
        groups=len(np.unique(data.groups)),
        has_patients=data.has_patients,
        unit=old.unit,
        counts={name: int((data.labels == index).sum()) for index, name in enumerate(old.classes)},
        calibrated_share=old.calibrated_share if is_as_before else float(data.labels.mean()),
        update=update.update,
        before=old.calibration or Platt(),
        from_sha256=old.sha256,
        from_created_at=old.created_at,
    )


def _write(path: Path, folder: Path, manifest: Manifest, digests: Sequence[str]) -> Manifest:
    """Copy the bundle with another calibration in its graph; returns the manifest with the new hashes.

    Where something is kept of its training images, the digests of the local ones are kept beside it.
    """
    for file in path.iterdir():
        if file.is_file() and file.name not in (MANIFEST_FILE, CARD_FILE, CARD_DATA_FILE):
            shutil.copyfile(file, folder / file.name)
    calibration = manifest.calibration or Platt()
    tail = folder / (MODEL_FILE if manifest.unit == "image" else UNITS_FILE)
    _set_calibration(tail, calibration)
    for name in (MODEL_FILE, *([UNITS_FILE] if manifest.unit != "image" else [])):
        describe_model(folder / name, manifest)
    if (reference := read_reference(path)) is not None:
        write_reference(reference.calibrated_on(digests), folder)
    hashes: dict[str, Any] = {
        "sha256": sha256_of(folder / MODEL_FILE),
        "companions": manifest.companions | digests_of_companions(folder),
    }
    if manifest.unit != "image":
        hashes["units_sha256"] = sha256_of(folder / UNITS_FILE)
    manifest = manifest.model_copy(update=hashes)
    write_manifest(folder, manifest)
    return manifest


def _set_calibration(file: Path, calibration: Platt) -> None:
    """Put slope and intercept into the constants of a graph."""
    import onnx

    model = onnx.load(file)
    wanted = {_SLOPE: calibration.slope, _INTERCEPT: calibration.intercept}
    done = set()
    for constant in model.graph.initializer:
        for end, value in wanted.items():
            if constant.name.endswith(end):
                array = onnx.numpy_helper.to_array(constant)
                changed = np.full(array.shape, value, dtype=array.dtype)
                constant.CopyFrom(onnx.numpy_helper.from_array(changed, constant.name))
                done.add(end)
    if done != set(wanted):
        raise ExportError(
            f"{file} does not hold its calibration as constants of their own, as bundles of this version do; "
            "export the model again"
        )
    onnx.save(model, file)


def _check(new: Bundle, old: Bundle, change: Platt) -> None:
    """Refuse a file that does not predict what the old one does after the change."""
    images = _examples(old)
    units = ["one", "other"] if old.manifest.unit != "image" else []
    extra: dict[str, Any] = {"units": units}
    if old.manifest.takes("baseline"):
        extra["baselines"] = images[::-1]
    if old.manifest.takes("finding_type"):
        extra["types"] = ["mass"]
    wanted = change.apply(old.predict(images, **extra).astype(np.float64))
    apart = float(np.abs(new.predict(images, **extra) - wanted).max())
    if apart > _TOLERANCE:
        raise ExportError(
            f"the recalibrated file differs by {apart:.1e} from what it should predict; export the model "
            "again, and recalibrate that bundle"
        )


def _examples(bundle: Bundle) -> list[NDArray[Any]]:
    """Two images of noise in the form that the model takes; any image shows whether the graphs agree."""
    wanted = bundle.manifest.input
    random = np.random.default_rng(0)
    noise = random.random((2, *wanted.trained_shape)) * wanted.max_value
    return list(noise.astype(wanted.dtype))
