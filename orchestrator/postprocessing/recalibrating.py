"""Calibration, threshold and triage of a bundle, fitted on a small local set; a new bundle is the result."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.postprocessing.outside_set import LabelledData, read_outside, request_for, task_of_bundle
from results.export.exported_model import load_bundle
from results.export.outside_data import OutsideData, predict_outside
from results.export.recalibration import RecalibratedBundle, recalibrate_bundle
from results.export.training_reference import read_reference
from results.run.records import OutOfFold
from results.scores.calibration_update import fit_update
from results.scores.cross_fitting import folds_or_drawn
from results.scores.interval import Interval
from results.scores.mean_interval import mean_interval
from results.scores.metrics.probability_errors import log_losses
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.common.errors import OrchestrateError
from trainables.common.text import typed_path
from trainables.common.types import FloatArray


@dataclass(frozen=True, slots=True)
class RecalibrationReport:
    """What a recalibration did.

    Attributes:
        bundle: The new bundle.
        notes: Sentences on the local data.
        gain: Log loss of the new probabilities minus that of the old ones, both at the share of positives of
            the local data, on parts of them that the update was not fitted on; None where the parts have too
            few patients.
    """

    bundle: RecalibratedBundle
    notes: tuple[str, ...]
    gain: Interval | None

    def messages(self) -> list[str]:
        """Describe for the terminal what was done."""
        manifest, update = self.bundle.manifest, self.bundle.update
        said = [f"wrote {typed_path(self.bundle.path)}: {update.update} of the calibration changed"]
        if update.update != "nothing":
            said[0] += (
                f" (slope {update.calibration.slope:.2f}, intercept {update.calibration.intercept:+.2f})"
            )
        said[0] += f", p {update.p_values[0]:.3f} if nothing needed to"
        if self.gain is not None:
            said.append(
                f"log loss on local data that the update did not see: {self.gain.text(3)} against before"
            )
        said.append(f"decides at {manifest.threshold:.4g}: {manifest.said_of_operation}")
        said.append("scores of these local data are no test of it: evaluate it on others")
        return said


def recalibrate(
    path: Path,
    out: Path,
    asked: LabelledData,
    *,
    task: str | None = None,
    operation: Operation = NOTHING_ASKED,
) -> RecalibrationReport:
    """Fit calibration, threshold and triage of a bundle on local data, and write a new bundle.

    Args:
        path: Folder of the bundle.
        out: Folder to write; must be missing or empty.
        asked: The local data.
        task: YAML file that defines the bundle's task, if it is one of the user's own; None otherwise.
        operation: What is asked of the decisions; what it leaves open is kept.

    Raises:
        OrchestrateError: If the data cannot be used or were made ready by steps that the bundle does not know
            of, there are too few patients, or `out` holds something.
    """
    bundle = load_bundle(path)
    request = request_for(task_of_bundle(bundle, task), asked)
    patch_set = read_outside(request, asked.notify)
    found = predict_outside(
        bundle, patch_set, request.task_definition, read_reference(path), is_fitted_on=True
    )
    written = recalibrate_bundle(
        path, out, found, operation, source=patch_set.source, fingerprint=patch_set.fingerprint
    )
    return RecalibrationReport(written, found.notes, gain_of(written, found))


def gain_of(written: RecalibratedBundle, data: OutsideData) -> Interval | None:
    """Return the log loss with the update minus that without it, each part by what was fitted on the others.

    Args:
        written: The new bundle, whose update starts where its own probabilities were moved to.
        data: The local data, as the old bundle predicts them.

    Returns:
        Mean over images with its 95 % interval over patients; None where the parts have too few patients.
    """
    local = OutOfFold(
        np.arange(len(data.labels)),
        data.labels,
        np.zeros_like(data.labels),
        data.groups.astype(str),
        written.here.apply(data.probabilities),
    )
    parts = folds_or_drawn(local.labels, local.groups, local.folds)
    if len(np.unique(parts)) < 2:
        return None
    updated: FloatArray = local.probabilities.copy()
    try:
        for part in np.unique(parts):
            own, others = parts == part, parts != part
            update = fit_update(local.labels[others], local.probabilities[others], local.groups[others])
            updated[own] = update.calibration.apply(local.probabilities[own])
    except OrchestrateError:  # some part has too few patients to say anything
        return None
    apart = log_losses(local.labels, updated) - log_losses(local.labels, local.probabilities)
    return mean_interval(apart, local.groups)
