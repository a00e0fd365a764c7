"""The manifest of a model that is being exported: what is known before its file is compared and hashed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from results.ensembles.judged import judged_model
from results.ensembles.weighted_mean import WeightedMean
from results.export.manifest import PREPARATION_CODE, PREPARATION_FILE, UNITS_FILE, Manifest
from results.export.manifest_parts import Member, OutOfFoldScores, ParityCheck, TestScores, TrainingData
from results.export.model_input import ExtraInput, ModelInput
from results.predictors.ensemble_module import OUTPUT_NAME
from results.predictors.loading import OpenedModel
from results.predictors.selected_model import digest_of_best
from results.predictors.test_evaluation import first_look
from results.predictors.unit_module import IMAGE_OUTPUT
from results.run.records import OutOfFold, SearchRecord
from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from results.run.source_trials import source_record, source_search
from results.run.test_accesses import read_accesses
from results.run.versions import package_versions
from results.scores.outer_result import OuterResult, readable_outer
from results.scores.strata_table import sentences_of
from trainables.common.errors import WeightsError
from trainables.config.trial_config import TrialConfig, decode, flatten
from trainables.data.declared_whites import in_words
from trainables.data.patches import PatchSet
from trainables.data.split_record import read_split
from trainables.data.training_data import training_data_of
from trainables.models.registry import backbone_named
from trainables.models.taps import frozen_parts
from trainables.models.weights import find_weights

_INTENDED_USE: Final = (
    "Research on the classification of breast-image patches like those it was trained on. Not a medical "
    "device: not for diagnosis, screening, triage or any decision about a patient."
)
_OF_DICOM: Final = (
    "those of a DICOM file as a person is shown them (its modality table or rescaling applied, then its "
    "first VOI table or window, and MONOCHROME1 turned over, so that 0 is black)"
)
_MADE_READY: Final = (
    f". The images were made ready by `prepare` of {PREPARATION_CODE} with the values of "
    f"{PREPARATION_FILE}; do the same before"
)


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
        thresholds=chosen.rule.thresholds,
        operation=chosen.rule.operation,
        triage=chosen.rule.triage,
        subgroups=_subgroups(run, opened),
        audit=opened.search.audit,
        nested_search=_nested_search(run, opened),
        preparation=None if opened.patch_set.preparation is None else dict(opened.patch_set.preparation),
    )


def _nested_search(run: RunFolder, opened: OpenedModel) -> OuterResult | None:
    """Score of the whole search, which says where it ships another model than this one."""
    found, chosen = readable_outer(run), opened.chosen
    if found is None or (not chosen.is_trial and chosen.digest == digest_of_best(run)):
        return found
    said = f"This model is {chosen.name}, which is not what the search ships by itself."
    return found.model_copy(update={"caveats": (*found.caveats, said)})


def _subgroups(run: RunFolder, opened: OpenedModel) -> tuple[str, ...]:
    """What the strata say out of fold; nothing where the data have no columns."""
    if not opened.patch_set.columns:
        return ()
    chosen = opened.chosen
    model = (
        judged_model(run, trial=chosen.trials[0], operation=chosen.rule.operation)
        if chosen.is_trial
        else judged_model(run, ensemble=chosen.method, operation=chosen.rule.operation)
    )
    return tuple(sentences_of(model.strata()))


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
        whites_of_16=patch_set.whites_of_16,
        trained_shape=tuple(patch_set.images.shape[1:]),
        from_files=patch_set.from_files,
        how_to_feed=(
            f"raw pixels from 0 to {patch_set.max_value:g} as they are in the file, {_OF_DICOM}, "
            f"{'float32' if is_float else 'int32'} of shape (B, H, W{rgb}; any B, H and W. Scaling, "
            "contrast, resizing and normalisation lie inside the model: do none of them before it"
            f"{_said_of_sizes(patch_set)}{_said_of_whites(patch_set)}"
            f"{_MADE_READY if patch_set.preparation is not None else ''}"
        ),
    )


def _said_of_whites(patch_set: PatchSet) -> str:
    """What files of 16 bits that do not state their white need; nothing where it is `max_value`."""
    if set(patch_set.whites_of_16) <= {patch_set.max_value}:
        return ""
    return (
        "; but scale files of 16 bits that do not state which value is white, from "
        f"{in_words(patch_set.whites_of_16)} to {patch_set.max_value:g}"
    )


def _said_of_sizes(patch_set: PatchSet) -> str:
    """What images of another size need; nothing where it is not known how training images came to theirs."""
    if patch_set.from_files is None or patch_set.from_files.resized is None:
        return ""
    height, width = patch_set.images.shape[1:3]
    return (
        f"; but bring images of another height or width to {height}x{width} before, as the training images "
        "were: by area averaging, bilinearly between the centres of pixels where a side grows, rounded to "
        "whole numbers"
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
                licences=licences_of_member(config, search),
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


def licences_of_member(config: TrialConfig, search: SearchRecord) -> dict[str, str]:
    """Return backbone -> licence of all published weights that a member brings, as `published_licences` does.

    Those of the trial that tells it the type of a finding are in the file, too, and of a trial that tells
    that one. A backbone of such a trial with another licence stands with the trial's name.

    Args:
        config: The member.
        search: Its search.
    """
    found = published_licences(config, search.request.weights_dir)
    if config.model.type_input not in ("probability", "hard") or search.type_from is None:
        return found
    source = search.type_from
    told_by = licences_of_member(decode(source_record(source).config), source_search(source))
    for name, licence in told_by.items():
        is_other = found.get(name, licence) != licence
        found[f"{name} of {_named(source)}" if is_other else name] = licence
    return found


def _declared_licence(backbone: str, weights_dir: Path | None) -> str | None:
    try:
        return find_weights(backbone, weights_dir=weights_dir, may_download=False).notes.licence
    except WeightsError:  # a trial that started from another one keeps its weights itself
        return None


def _named(source: SourceTrial | None) -> str | None:
    return None if source is None else f"trial {source.trial} of {'/'.join(Path(source.run).parts[-2:])}"


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
        scored={name: int((kept.labels == index).sum()) for index, name in enumerate(task.classes)},
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
    return (
        f"choice of members out of {opened.chosen.chosen_from}, fit, calibration and threshold were repeated "
        "without each held-out fold"
    )


def _test_scores(run: RunFolder, opened: OpenedModel) -> TestScores | str:
    """Scores of exactly this model at its first opening."""
    look = first_look(run, opened.chosen)
    if look is None:
        return "not opened" if run.has_sealed_part else "nothing sealed"
    access, found = look
    return TestScores(
        opening=found.opening,
        openings=max(found.opening, len(read_accesses(run, patients=access.seen))),
        images=found.images,
        groups=found.groups,
        metrics=found.metrics,
        unknown_looks=found.unknown_looks,
    )
