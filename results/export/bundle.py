"""Export of a chosen model to a folder with model, manifest and model card, written whole or not at all."""

import inspect
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from results.ensembles.ensemble import BEST, read_ensemble
from results.errors import ExportError, TooSlowError
from results.export.bundle_folder import check_free, new_bundle
from results.export.companions import digests_of_companions
from results.export.descriptions import write_manifest
from results.export.manifest import (
    CARD_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    PREPARATION_CODE,
    PREPARATION_FILE,
    UNITS_FILE,
    Manifest,
)
from results.export.manifest_draft import manifest_draft
from results.export.manifest_parts import ParityCheck
from results.export.model_card import licence_warnings, said_of_refits
from results.export.model_file import describe_model, sha256_of
from results.export.novelty import novelty_facts, with_novelty
from results.export.parity import (
    held_out_rows,
    left_out_of,
    onnx_difference,
    predict_by_fold,
    reproduces_out_of_fold,
    scored_by_fold,
    undecided_rows,
)
from results.export.precision_check import Precision, WrittenGraph, lower_precision, write_with_folds
from results.export.precision_record import Distillation
from results.export.prediction_time import measure_prediction_time
from results.export.run_reference import reference_of
from results.export.training_reference import write_reference
from results.export.within_time import best_within, candidates_within
from results.predictors.ensemble_module import OUTPUT_NAME, write_onnx, write_units_onnx
from results.predictors.loading import OpenedModel, open_model
from results.predictors.model_inputs import ModelInputs
from results.predictors.novelty_features import ModelNovelty, novelty_of
from results.predictors.unit_module import IMAGE_OUTPUT, side_by_side
from results.run.prediction_costs import PredictionTime, add_costs, read_costs
from results.run.run_folder import RunFolder
from results.run.split_labels import NAIVE, NAIVE_WARNING, scored
from results.scores.metrics import metric_named
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.common.files import write_atomically
from trainables.common.processor import processor_name
from trainables.common.text import count_text
from trainables.common.types import IntArray
from trainables.data.mammogram import preparation


@dataclass(frozen=True, slots=True)
class BundleReport:
    """Report of an export.

    Attributes:
        path: Folder of the bundle.
        manifest: Content of `manifest.json`.
        model_bytes: Size of `model.onnx` in bytes.
    """

    path: Path
    manifest: Manifest
    model_bytes: int

    def messages(self) -> list[str]:
        """Describe for the terminal what was written and how it was checked."""
        manifest, metric = self.manifest, metric_named(self.manifest.out_of_fold.metric)
        members = ", ".join(str(member.trial) for member in manifest.members)
        said = [
            f"exported {manifest.method} (trials {members}) to {self.path}: "
            f"{MODEL_FILE} {self.model_bytes / 1e6:.1f} MB, {MANIFEST_FILE}, {CARD_FILE}",
            _said_of(manifest.parity, in_float32=manifest.precision is not None),
            *([f"costs {manifest.cost}"] if manifest.cost else []),
            f"out-of-fold {scored(metric.header, manifest.split)} "
            f"{manifest.out_of_fold.interval.text(metric.digits)}: {manifest.out_of_fold.how}",
        ]
        if manifest.operation.is_asked and manifest.threshold is not None:
            said.append(f"decides at {manifest.threshold:.4g}: {manifest.said_of_operation}")
        for change in (manifest.distilled, manifest.precision):
            said += [] if change is None else change.sentences(manifest.cost)
        said += licence_warnings(manifest)
        said += said_of_refits(manifest)
        if manifest.split == NAIVE:
            said.append(NAIVE_WARNING)
        if manifest.said_of_no_test:
            said.append(manifest.said_of_no_test)
        if manifest.is_synthetic:
            said.append("SYNTHETIC images: this model knows nothing about patients")
        return said


def _said_of(parity: ParityCheck, *, in_float32: bool) -> str:
    when = ", before the precision was lowered" if in_float32 else ""
    when += parity.said_of_left_out
    onnx = f"ONNX Runtime within {parity.onnx_difference:.1e} of PyTorch"
    if parity.out_of_fold_difference is None:
        return (
            f"parity on {parity.images} training images{when}: {onnx}. The refitted models have seen "
            "them all, so nothing that the search predicted can be compared"
        )
    return (
        f"parity on {parity.images} held-out images{when}: {onnx}, fold models within "
        f"{parity.out_of_fold_difference:.1e} of the search's own predictions"
    )


def export_bundle(  # noqa: PLR0913 - a model, and what its file must keep to
    run: RunFolder,
    out: Path,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    refit: bool = False,
    held_out_limit: int = 32,
    max_ms: float | None = None,
    operation: Operation = NOTHING_ASKED,
    precision: Precision | None = None,
    distilled: Distillation | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> BundleReport:
    """Export an ensemble, or a single trial, and check the file against PyTorch and against the search.

    Only images of the training part are read; the sealed test part stays closed.

    Args:
        run: Folder of the search.
        out: Folder to write; must be missing or empty.
        ensemble: Name of a method, `best_single` or `best`; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Export the models that `orchestrate refit` trained; the search's own predictions come from
            other models, so the file is compared with PyTorch alone.
        held_out_limit: Number of images to compare on, from all folds.
        max_ms: Longest time of one image on one core of this machine, in milliseconds; None for any. Where
            no model is named, the best one that is fast enough is exported, see `best_within`; at a lower
            precision that is asked of the graph at this precision.
        operation: What is asked of its decisions; nothing takes what the ensemble was built for.
        precision: Lower precision of the file's networks, and what it may change; None for float32.
        distilled: What the model was distilled from, where `run` holds a student.
        say: Function called with a sentence before what takes time.

    Raises:
        ModelChangedError: If the lower precision changes AUC or calls by more than it may.
        ExportError: If `out` holds something, the file differs from PyTorch by more than 1e-4 (2e-3 where it
            counts pixels), a fold model with the search by more than 0.02, or an image takes longer than
            `max_ms`. Nothing is left behind then.
        OrchestrateError: If the model was not built, or data, weights or pretrained files are missing.
    """
    out = out.resolve()
    check_free(out)
    export = partial(
        _export,
        run,
        out,
        refit=refit,
        held_out_limit=held_out_limit,
        precision=precision,
        distilled=distilled,
        say=say,
    )
    if max_ms is None or trial is not None or ensemble != BEST or refit:
        return export(ensemble, trial, max_ms=max_ms, operation=operation)
    of_trial = operation if operation.is_asked else read_ensemble(run, BEST).operation  # it stands in for it
    if precision is None:  # what was chosen for its time is not refused for the noise of a second timing
        ensemble, trial = best_within(run, max_ms)
        return export(ensemble, trial, max_ms=None, operation=operation if trial is None else of_trial)
    tried: TooSlowError | None = None
    for ensemble, trial in candidates_within(run, max_ms):
        try:
            return export(ensemble, trial, max_ms=max_ms, operation=operation if trial is None else of_trial)
        except TooSlowError as error:
            tried = error
            say(f"{error.named} takes {error.core_ms:.1f} ms at {precision.name}, more than is allowed")
    found = "none is near it" if tried is None else f"the last that was tried, {tried.named}, takes "
    found += "" if tried is None else f"{tried.core_ms:.1f} ms"
    raise ExportError(
        f"no model of {run.path} answers within {max_ms:g} ms an image on one core at {precision.name}; "
        f"{found}. Allow more (--max-ms), or search with --max-ms {max_ms:g}"
    )


def _export(  # noqa: PLR0913 - a model, and what its file must keep to
    run: RunFolder,
    out: Path,
    ensemble: str,
    trial: int | None,
    *,
    refit: bool,
    held_out_limit: int,
    max_ms: float | None,
    operation: Operation,
    precision: Precision | None,
    distilled: Distillation | None,
    say: Callable[[str], None],
) -> BundleReport:
    """Export one model, as `export_bundle` does."""
    named = "the best model" if ensemble == BEST else f"ensemble {ensemble}"
    say(f"opening {named if trial is None else f'trial {trial}'}: its weights and the run's images ...")
    opened = open_model(run, ensemble=ensemble, trial=trial, refit=refit, operation=operation)
    kept = {number: run.out_of_fold(number) for number in opened.chosen.trials}
    rows = held_out_rows(next(iter(kept.values())), held_out_limit, without=_undecided(opened))
    images, unit = opened.images_of(rows)
    inputs = opened.inputs(images)
    say(f"predicting {count_text(len(images), 'image')} with PyTorch, to compare the file with ...")
    by_fold = predict_by_fold(opened.module, inputs)
    out_of_fold_difference = (
        None
        if refit
        else reproduces_out_of_fold(
            scored_by_fold(opened.module, by_fold, unit),
            kept,
            rows,
            has_steps=opened.module.members.has_steps,
        )
    )
    with new_bundle(out) as folder, tempfile.TemporaryDirectory() as scratch:
        file = folder / MODEL_FILE
        say(f"writing {MODEL_FILE} ...")
        novelty = novelty_of(run, opened)
        written = _write_graph(opened, novelty, inputs, Path(scratch), file, precision)
        draft = manifest_draft(run, opened, next(iter(kept.values())), written.opset)
        draft = draft.model_copy(update={"distilled": distilled, "novelty": novelty_facts(novelty)})
        describe_model(file, draft)
        if unit is not None:
            draft = _with_units(draft, opened, by_fold, unit, folder / UNITS_FILE)
        say(f"comparing {MODEL_FILE} with PyTorch, and timing it on one core ...")
        parity = ParityCheck(
            images=len(images),
            onnx_difference=onnx_difference(opened.module, by_fold, inputs, file, unit),
            out_of_fold_difference=out_of_fold_difference,
            left_out=left_out_of(len(rows), has_steps=any(opened.module.members.has_steps)),
        )
        one = {name: tensor.numpy() for name, tensor in inputs.take([0]).tensors().items()}
        cost = cost_before = measure_prediction_time(file, one, opened.module.by_image)
        if precision is not None:
            first = next(iter(kept.values()))
            lower = lower_precision(opened, written, first, file, precision, cost_before=cost_before)
            draft = draft.model_copy(update={"precision": lower})
            describe_model(file, draft)
            cost = measure_prediction_time(file, one)
        _check_time(cost, opened, max_ms)
        _write_preparation(folder, draft)
        write_reference(reference_of(run, draft.input), folder)
        manifest = draft.model_copy(
            update={
                "parity": parity,
                "sha256": sha256_of(file),
                "companions": digests_of_companions(folder),
                "cost": cost,
            }
        )
        write_manifest(folder, manifest)
        size = file.stat().st_size
    # Models are compared in one precision, and by what they predict: a file that scores novelty does more.
    if not refit and novelty is None and not _is_known(run, opened.chosen.trials):
        add_costs(run, {opened.chosen.trials: cost_before})
    return BundleReport(out, manifest, size)


def _is_known(run: RunFolder, trials: Sequence[int]) -> bool:
    """True if these members were measured on this machine, as others of their structure were."""
    known = read_costs(run)
    return known.processor == processor_name() and known.of(trials) is not None


def _write_graph(
    opened: OpenedModel,
    novelty: ModelNovelty | None,
    inputs: ModelInputs,
    scratch: Path,
    file: Path,
    precision: Precision | None,
) -> WrittenGraph:
    """Write the file in float32; for a lower precision also the graph that it is made from."""
    if precision is not None:
        return write_with_folds(opened, novelty, inputs, scratch, file)
    name = OUTPUT_NAME if opened.unit == "image" else IMAGE_OUTPUT
    module, outputs = with_novelty(opened.module.by_image, novelty, (name,))
    opset = write_onnx(module, inputs.take([0, -1]).tensors(), file, outputs=outputs)
    return WrittenGraph(file, module, opset)


def _write_preparation(folder: Path, manifest: Manifest) -> None:
    """Put the steps that cannot lie in the graph beside it: their values, and the one file that does them."""
    if manifest.preparation is None:
        return
    write_atomically(folder / PREPARATION_FILE, json.dumps(manifest.preparation, indent=1) + "\n")
    write_atomically(folder / PREPARATION_CODE, inspect.getsource(preparation))


def _with_units(
    draft: Manifest, opened: OpenedModel, by_fold: Sequence[Tensor], unit: IntArray, file: Path
) -> Manifest:
    """Write the file that combines the images of a unit, and name it in the manifest."""
    predictions = side_by_side(by_fold, opened.module.unit_rules)
    write_units_onnx(opened.module.by_unit, predictions, torch.from_numpy(unit), file)
    describe_model(file, draft)
    return draft.model_copy(update={"units_sha256": sha256_of(file)})


def _check_time(cost: PredictionTime, opened: OpenedModel, max_ms: float | None) -> None:
    if max_ms is not None and cost.core_ms > max_ms:
        members = ", ".join(str(number) for number in opened.chosen.trials)
        raise TooSlowError(
            f"{opened.chosen.name} takes {cost.core_ms:.1f} ms an image on one core, --max-ms allows "
            f"{max_ms:g}; take a single trial (--trial, one of {members}), or search "
            f"with --max-ms {max_ms:g}",
            opened.chosen.name,
            cost.core_ms,
        )


def _undecided(opened: OpenedModel) -> IntArray:
    """Rows whose hard type may differ between the bundle and the search."""
    source = opened.search.type_from
    is_hard = any(config.model.type_input == "hard" for config in opened.configs.values())
    if source is None or not is_hard:
        return np.array([], dtype=np.int64)
    return undecided_rows(RunFolder(Path(source.run)).out_of_fold(source.trial))
