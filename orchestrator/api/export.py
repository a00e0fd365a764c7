"""Export of a model of a run, as it is, in a lower precision, or as a student of the ensemble."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from results.ensembles.ensemble import BEST, read_ensemble
from results.errors import ExportError
from results.export.allowed_change import AS_IT_IS, DISTIL_WEIGHT, ExportChanges
from results.run.run_folder import RunFolder
from results.scores.operating_point import NOTHING_ASKED, Operation

if TYPE_CHECKING:  # torch takes seconds to import
    from results.export.bundle import BundleReport


def export_model(  # noqa: PLR0913 - a model, and what its file must keep to
    run: RunFolder,
    out: Path,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    refit: bool = False,
    max_ms: float | None = None,
    changes: ExportChanges = AS_IT_IS,
    operation: Operation = NOTHING_ASKED,
    say: Callable[[str], None] = lambda _: None,
) -> "BundleReport":
    """Export a model of a run.

    Args:
        run: Folder of the search.
        out: Folder to write; must be missing or empty.
        ensemble: Name of the ensemble; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Export the models that `orchestrate refit` trained.
        max_ms: Longest time of one image on one core of this machine, in milliseconds; None for any. Where no
            model is named, the best one that is fast enough, at the precision, is exported.
        changes: Precision and student.
        operation: What is asked of its decisions; nothing takes what the ensemble was built for.
        say: Function called with a sentence before what takes time.

    Raises:
        ModelChangedError: If precision or student change AUC or calls by more than they may.
        OrchestrateError: See `results.export.bundle.export_bundle`.
    """
    from results.export.bundle import export_bundle
    from results.export.bundle_folder import check_free
    from results.export.precision_check import Precision
    from results.export.precision_record import precision_named

    lower = None
    if changes.precision != "float32":
        lower = Precision(precision_named(changes.precision), changes.of_precision())
    if not changes.is_distilled:
        return export_bundle(
            run,
            out,
            ensemble=ensemble,
            trial=trial,
            refit=refit,
            max_ms=max_ms,
            operation=operation,
            precision=lower,
            say=say,
        )
    if trial is not None or refit:
        raise ExportError(
            "--distil trains a student of an ensemble, with fold models of its own: leave out "
            f"{'--refit' if trial is None else '--trial, and name the student as --distil TRIAL'}"
        )
    from orchestrator.postprocessing.distil import distil

    check_free(out)  # before minutes of training
    if not operation.is_asked:
        operation = read_ensemble(run, ensemble).operation  # the run of a student knows one trial alone
    student = distil(
        run,
        ensemble=ensemble,
        trial=None if changes.distil is True else int(changes.distil),
        weight=DISTIL_WEIGHT if changes.distil_weight is None else changes.distil_weight,
        allowed=changes.of_student(),
        operation=operation,
        max_ms=max_ms,
        say=say,
    )
    return export_bundle(
        student.run,
        out,
        trial=student.record.trial,
        # One that was chosen was chosen by its time in float32.
        max_ms=None if changes.distil is True and lower is None else max_ms,
        operation=operation,
        precision=lower,
        distilled=student.record,
        say=say,
    )
