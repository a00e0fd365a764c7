"""Export of a chosen model to a folder with model, manifest and model card, written whole or not at all."""

import contextlib
import hashlib
import inspect
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from results.ensembles.build import BEST
from results.ensembles.weighted_mean import WeightedMean
from results.errors import ExportError
from results.export.manifest import (
    CARD_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    PREPARATION_CODE,
    PREPARATION_FILE,
    UNITS_FILE,
    ExtraInput,
    Manifest,
    Member,
    ModelInput,
    OutOfFoldScores,
    ParityCheck,
    TestScores,
    TrainingData,
)
from results.export.model_card import licence_warnings, model_card
from results.export.model_file import describe_model
from results.export.parity import (
    held_out_rows,
    onnx_difference,
    predict_by_fold,
    reproduces_out_of_fold,
    scored_by_fold,
    undecided_rows,
)
from results.export.prediction_time import measure_prediction_time
from results.export.within_time import best_within
from results.predictors.ensemble_module import OUTPUT_NAME, write_onnx, write_units_onnx
from results.predictors.loading import OpenedModel, open_model
from results.predictors.test_evaluation import TestEvaluation
from results.predictors.unit_module import IMAGE_OUTPUT, side_by_side
from results.run.prediction_costs import PredictionTime, add_costs
from results.run.records import OutOfFold, SourceTrial
from results.run.run_folder import RunFolder
from results.run.split_labels import NAIVE, NAIVE_WARNING, scored
from results.run.test_accesses import read_accesses
from results.run.versions import package_versions
from results.scores.metrics import metric_named
from trainables.common.errors import WeightsError
from trainables.common.files import folder_in_progress, write_atomically
from trainables.common.types import IntArray
from trainables.config.trial_config import TrialConfig, flatten
from trainables.data.mammogram import preparation
from trainables.data.splits import read_split
from trainables.data.training_data import training_data_of
from trainables.models.registry import backbone_named
from trainables.models.taps import frozen_parts
from trainables.models.weights import find_weights

_INTENDED_USE: Final = (
    "Research on the classification of breast-image patches like those it was trained on. Not a medical "
    "device: not for diagnosis, screening, triage or any decision about a patient."
)

_MADE_READY: Final = (
    f". The images are whole mammograms that were made ready by `prepare` of {PREPARATION_CODE} with the "
    f"values of {PREPARATION_FILE}; do the same before"
)


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
            _said_of(manifest.parity),
            *([f"costs {manifest.cost}"] if manifest.cost else []),
            f"out-of-fold {scored(metric.header, manifest.split)} "
            f"{manifest.out_of_fold.interval.text(metric.digits)}: {manifest.out_of_fold.how}",
        ]
        said += licence_warnings(manifest)
        if manifest.split == NAIVE:
            said.append(NAIVE_WARNING)
        if manifest.test == "not opened":
            said.append("the sealed test part has not been opened for this model")
        if manifest.is_synthetic:
            said.append("SYNTHETIC images: this model knows nothing about patients")
        return said


def _said_of(parity: ParityCheck) -> str:
    onnx = f"ONNX Runtime within {parity.onnx_difference:.1e} of PyTorch"
    if parity.out_of_fold_difference is None:
        return (
            f"parity on {parity.images} training images: {onnx}. The refitted models have seen them all, so "
            "nothing that the search predicted can be compared"
        )
    return (
        f"parity on {parity.images} held-out images: {onnx}, fold models within "
        f"{parity.out_of_fold_difference:.1e} of the search's own predictions"
    )


def export_bundle(
    run: RunFolder,
    out: Path,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    refit: bool = False,
    held_out_limit: int = 32,
    max_ms: float | None = None,
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
            no model is named, the best one that is fast enough is exported, see `best_within`.

    Raises:
        ExportError: If `out` holds something, the file disagrees with PyTorch by more than 1e-4, a fold model
            with the search by more than 0.02, or an image takes longer than `max_ms`. Nothing is left behind
            then.
        OrchestrateError: If the model was not built, or data, weights or pretrained files are missing.
    """
    out = out.resolve()
    _check_free(out)
    is_to_choose = max_ms is not None and trial is None and ensemble == BEST and not refit
    if max_ms is not None and is_to_choose:
        ensemble, trial = best_within(run, max_ms)
    opened = open_model(run, ensemble=ensemble, trial=trial, refit=refit)
    kept = {number: run.out_of_fold(number) for number in opened.chosen.trials}
    rows = held_out_rows(next(iter(kept.values())), held_out_limit, without=_undecided(opened))
    images, unit = opened.images_of(rows)
    inputs = opened.inputs(images)
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
    with _new_bundle(out) as folder:
        file = folder / MODEL_FILE
        name = OUTPUT_NAME if unit is None else IMAGE_OUTPUT
        opset = write_onnx(opened.module.by_image, inputs.take([0, -1]).tensors(), file, output=name)
        draft = manifest_draft(run, opened, next(iter(kept.values())), opset)
        describe_model(file, draft)
        if unit is not None:
            draft = _with_units(draft, opened, by_fold, unit, folder / UNITS_FILE)
        parity = ParityCheck(
            images=len(images),
            onnx_difference=onnx_difference(opened.module, by_fold, inputs, file, unit),
            out_of_fold_difference=out_of_fold_difference,
        )
        one = {name: tensor.numpy() for name, tensor in inputs.take([0]).tensors().items()}
        cost = measure_prediction_time(file, one)
        if not is_to_choose:  # what was chosen for its time is not refused for the noise of a second timing
            _check_time(cost, opened, max_ms)
        manifest = draft.model_copy(update={"parity": parity, "sha256": _sha256(file), "cost": cost})
        write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json(indent=1) + "\n")
        write_atomically(folder / CARD_FILE, model_card(manifest))
        _write_preparation(folder, manifest)
        size = file.stat().st_size
    if not refit:
        add_costs(run, {opened.chosen.trials: cost})
    return BundleReport(out, manifest, size)


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
    return draft.model_copy(update={"units_sha256": _sha256(file)})


def _check_time(cost: PredictionTime, opened: OpenedModel, max_ms: float | None) -> None:
    if max_ms is not None and cost.core_ms > max_ms:
        members = ", ".join(str(number) for number in opened.chosen.trials)
        raise ExportError(
            f"{opened.chosen.name} takes {cost.core_ms:.1f} ms an image on one core, --max-ms allows "
            f"{max_ms:g}; take a single trial (--trial, one of {members}), or search "
            f"with --max-ms {max_ms:g}"
        )


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ExportError(f"a bundle is a folder, and {out} is a file; give another --out")
    if out.is_dir() and any(out.iterdir()):
        raise ExportError(f"{out} holds files already, and a bundle replaces nothing; give another --out")


@contextlib.contextmanager
def _new_bundle(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when all went well, and is removed otherwise."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(folder_in_progress(out))
        except OSError as error:
            raise ExportError(
                f"cannot write a bundle to {out}: {error.strerror}: {error.filename}; give another --out"
            ) from error
        yield folder
        try:
            folder.replace(out)
        except OSError as error:
            raise ExportError(f"{out} was filled while the bundle was made; give another --out") from error


def manifest_draft(run: RunFolder, opened: OpenedModel, kept: OutOfFold, opset: int) -> Manifest:
    """The manifest of a file that has been neither compared nor hashed yet."""
    chosen, search, task = opened.chosen, opened.search, opened.search.task_definition
    is_binary = len(chosen.classes) == 2
    return Manifest(
        name=f"{search.task}/{search.name}, {chosen.name}",
        task=search.task,
        question=task.question,
        classes=chosen.classes,
        positive=chosen.classes[-1],
        threshold=chosen.threshold if is_binary else None,
        is_synthetic=search.is_synthetic,
        split=chosen.split,
        input=_model_input(opened),
        output=_output_of(opened),
        method=chosen.name,
        is_single_trial=chosen.is_trial,
        members=_members(opened),
        calibration=chosen.calibration,
        data=_training_data(run, opened, kept),
        out_of_fold=OutOfFoldScores(
            how=_how_scored(opened),
            auc=chosen.auc,
            metrics=chosen.metrics,
            metric=chosen.objectives.metrics[0],
            value=chosen.value,
        ),
        test=_test_scores(run, opened),
        parity=ParityCheck(images=0, onnx_difference=0.0, out_of_fold_difference=None),
        onnx_opset=opset,
        versions=package_versions(),
        sha256="0" * 64,
        intended_use=_INTENDED_USE,
        created_at=datetime.now(UTC),
        extra_inputs=_extra_inputs(opened),
        is_refitted=chosen.is_refitted,
        is_ordinal=chosen.is_ordinal,
        unit=opened.unit,
        best_for=chosen.rule.best_for,
        audit=opened.search.audit,
        preparation=None if opened.patch_set.preparation is None else dict(opened.patch_set.preparation),
    )


def _output_of(opened: OpenedModel) -> str:
    models, classes = sum(opened.module.members.folds), len(opened.chosen.classes)
    kind = "calibrated" if opened.chosen.calibration else "not calibrated"
    if opened.unit == "image":
        return (
            f"{OUTPUT_NAME}: float32 (B, {classes}), a column a class in the order of `classes`; "
            f"{kind}, rows sum to 1"
        )
    return (
        f"{IMAGE_OUTPUT}: float64 (B, {models}, {classes + 1}), for each image and fold model the "
        f"probability of each class and the attention of the image. {UNITS_FILE} takes them as "
        f"`predictions`, with the 0-based {opened.unit} of each image as `unit`, int64 (B,), and returns "
        f"`{OUTPUT_NAME}`, float32: row u is {opened.unit} u, {kind}"
    )


def _model_input(opened: OpenedModel) -> ModelInput:
    patch_set = opened.patch_set
    is_float = patch_set.images.dtype == np.float32
    rgb = ", 3) in the order red, green, blue" if patch_set.channels == 3 else ")"
    return ModelInput(
        name="raw",
        dtype="float32" if is_float else "int32",
        channels=3 if patch_set.channels == 3 else 1,
        max_value=patch_set.max_value,
        trained_shape=tuple(patch_set.images.shape[1:]),
        how_to_feed=(
            f"raw pixels from 0 to {patch_set.max_value:g} as they are in the file, "
            f"{'float32' if is_float else 'int32'} of shape (B, H, W{rgb}; any B, H and W. Scaling, "
            "contrast, resizing and normalisation lie inside the model: do none of them before it"
            f"{_MADE_READY if patch_set.preparation is not None else ''}"
        ),
    )


def _extra_inputs(opened: OpenedModel) -> tuple[ExtraInput, ...]:
    needs, image = opened.module.members.needs, _model_input(opened)
    baseline = ExtraInput(
        name="baseline",
        dtype=image.dtype,
        how_to_feed=(
            "raw pixels of a healthy patch of the same film for each image, which the model compares it "
            f"with; {image.dtype} of the same shape as `{image.name}`, in the same order"
        ),
    )
    finding_type = ExtraInput(
        name="finding_type",
        dtype="float32",
        how_to_feed="0 where people see a mass and 1 where they see a calcification, float32 of shape (B,)",
    )
    wanted = ((needs.baseline, baseline), (needs.finding_type, finding_type))
    return tuple(extra for is_needed, extra in wanted if is_needed)


def _members(opened: OpenedModel) -> tuple[Member, ...]:
    fitted, shared, search = opened.chosen.fitted, opened.module.members, opened.search
    weights = fitted.weights if isinstance(fitted, WeightedMean) else (None,) * len(opened.configs)
    members = []
    for (number, config), place, weight in zip(opened.configs.items(), shared.members, weights, strict=True):
        backbone_module, output = shared.routes[place][0]
        is_told = config.model.type_input in ("probability", "hard")
        members.append(
            Member(
                trial=number,
                backbone=config.model.backbone,
                weights=config.model.weights,
                cut=config.model.cut,
                trained_stages=config.model.trained_stages,
                folds=len(shared.models[place].parts),  # type: ignore[arg-type]
                views=len(shared.backbone_modules[backbone_module].outputs[output].views),  # type: ignore[index, union-attr]
                weight=weight,
                settings=flatten(config.model_dump(mode="json")),
                told_by=_named(search.type_from) if is_told else None,
                started_from=_named(search.start_from) if config.model.weights == "start" else None,
                licences=published_licences(config, search.request.weights_dir),
            )
        )
    return tuple(members)


def published_licences(config: TrialConfig, weights_dir: Path | None) -> dict[str, str]:
    """Return backbone -> licence of the published weights that a trial starts from; empty if not known.

    What the notes beside a file of the user's say of its licence goes before that of the backbone's own.
    """
    backbones = [backbone_named(part.model.backbone) for part in frozen_parts(config)]
    published = [own for own in backbones if own.has_imagenet_weights and config.model.weights != "random"]
    return {own.name: _declared_licence(own.name, weights_dir) or own.licence for own in published}


def _declared_licence(backbone: str, weights_dir: Path | None) -> str | None:
    try:
        return find_weights(backbone, weights_dir=weights_dir, may_download=False).notes.licence
    except WeightsError:  # a trial that started from another one keeps its weights itself
        return None


def _named(source: SourceTrial | None) -> str | None:
    return None if source is None else f"trial {source.trial} of {'/'.join(Path(source.run).parts[-2:])}"


def _undecided(opened: OpenedModel) -> IntArray:
    """Rows whose hard type may differ between the bundle and the search."""
    source = opened.search.type_from
    is_hard = any(config.model.type_input == "hard" for config in opened.configs.values())
    if source is None or not is_hard:
        return np.array([], dtype=np.int64)
    return undecided_rows(RunFolder(Path(source.run)).out_of_fold(source.trial))


def _training_data(run: RunFolder, opened: OpenedModel, kept: OutOfFold) -> TrainingData:
    split, task = read_split(run.split_file), opened.search.task_definition
    training_data = training_data_of(opened.patch_set, task, split, opened.unit)
    return TrainingData(
        source=opened.search.source,
        is_synthetic=opened.search.is_synthetic,
        images=len(training_data.rows),
        groups=len(np.unique(training_data.groups)),
        has_patients=opened.patch_set.patients is not None,
        counts={name: int((training_data.labels == index).sum()) for index, name in enumerate(task.classes)},
        folds=split.folds,
        held_out=len(kept.rows) if training_data.units is None else int((training_data.folds >= 0).sum()),
        fingerprint=opened.search.fingerprint,
    )


def _how_scored(opened: OpenedModel) -> str:
    if opened.chosen.is_trial:
        return (
            "of a trial that was selected by this score, so it is too high; the ensemble best_single has an "
            "honest one"
        )
    return "choice of members, fit, calibration and threshold were repeated without each held-out fold"


def _test_scores(run: RunFolder, opened: OpenedModel) -> TestScores | str:
    """Scores of exactly this model at its first opening; another refit of its trials is another model."""
    chosen = opened.chosen
    wanted = (chosen.name, chosen.trials, chosen.threshold, chosen.refit_digest)
    for one in read_accesses(run):
        if (one.model, one.trials, one.threshold, one.refit_digest) == wanted and one.result is not None:
            result = TestEvaluation.model_validate(one.result)
            return TestScores(
                opening=result.opening,
                openings=max(result.opening, len(read_accesses(run, sealed=one.sealed))),
                images=result.images,
                groups=result.groups,
                metrics=result.metrics,
            )
    return "not opened"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
