"""Compute saved by sharing frozen prefixes: a search's records against a plain search without sharing.

A plain search runs the whole network in every epoch, fold and trial: its frozen stages see each training
image in one random view, and each held-out image in as many views as our prediction averaged over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from results.run.records import TrialRecord
from trainables.common.text import clock_text
from trainables.data.split_record import TEST_PART, TRAINING_PART, Split
from trainables.features.feature_use import FeatureUse


@dataclass(frozen=True, slots=True)
class Images:
    """Numbers of images that a search works on.

    Attributes:
        trained: Images that all folds of an epoch train on, counted once a fold.
        predicted: Images that they predict: each once, or only the validation part of a hold-out.
        stored: Images whose frozen features are computed: all, the sealed test part included.
    """

    trained: int
    predicted: int
    stored: int


@dataclass(frozen=True, slots=True)
class ComputeSavings:
    """Frozen forward passes of a search, and of a plain one with the same trials and epochs.

    Attributes:
        trials: Number of trials with a frozen prefix; the others cost the same in both searches.
        plain_passes: Number of images that a plain search sends through frozen stages.
        passes: Number of images that this search sent through them.
        plain_seconds: Device seconds of `plain_passes`; None if not known for every trial.
        seconds: Device seconds of `passes`; None if `plain_seconds` is None.
    """

    trials: int
    plain_passes: int
    passes: int
    plain_seconds: float | None
    seconds: float | None


def count_images(split: Split, classes: Sequence[str]) -> Images:
    """Count the images of a split, from its manifest.

    Args:
        split: Manifest of the split.
        classes: Class names of its task.
    """
    totals = {part: sum(counts[name] for name in classes) for part, counts in split.counts.items()}
    stored = sum(totals.values())
    training = stored - totals.get(TEST_PART, 0)
    predicted = training - totals.get(TRAINING_PART, 0)
    return Images(trained=split.folds * training - predicted, predicted=predicted, stored=stored)


def plain_passes(*, epochs: int, models: int, trained: int, predicted: int, prediction_views: int) -> int:
    """Return the number of images that a plain search sends through the frozen stages for one trial.

    Args:
        epochs: Number of epochs that the trial ran.
        models: Models per fold, each of which a plain search trains by itself.
        trained: Images that all folds of an epoch train on, counted once a fold.
        predicted: Images that all folds of an epoch predict.
        prediction_views: Views that the prediction of a held-out image is averaged over.

    >>> plain_passes(epochs=10, models=1, trained=300, predicted=100, prediction_views=8)
    11000
    """
    return epochs * models * (trained + predicted * prediction_views)


def savings_from_sharing(records: Sequence[TrialRecord], images: Images) -> ComputeSavings:
    """Compare what ran with what a plain search would have run, over all trials with a frozen prefix.

    Device time takes the seconds an image that were measured when the trial's features were computed, in this
    search or before. The pass that was measured goes on to the last tap that the search shares, so for a
    trial that is cut lower this is more than its own stages take.

    Args:
        records: Records of all trials that ended; pruned and failed ones count with the epochs that they ran.
        images: Numbers of images of the search.
    """
    with_prefix = [
        (record, use) for record in records if (use := record.prefix) and use.kind == "stored views"
    ]
    plain = [_plain_passes_of(record, use, images) for record, use in with_prefix]
    is_known = bool(with_prefix) and all(use.seconds_per_image > 0 for _, use in with_prefix)
    return ComputeSavings(
        trials=len(with_prefix),
        plain_passes=sum(plain),
        passes=sum(use.computed * images.stored for _, use in with_prefix),
        plain_seconds=_plain_seconds(with_prefix, plain) if is_known else None,
        seconds=sum(use.computed_seconds for _, use in with_prefix) if is_known else None,
    )


def savings_message(saved: ComputeSavings) -> str:
    """Describe the savings in one sentence; empty if no trial had a frozen prefix.

    >>> savings_message(ComputeSavings(10, 11000, 500, 66.0, 3.0))
    '500 frozen forward passes, a plain search 11,000 (22 times as many); 0:03 of device time for 1:06'
    """
    if not saved.trials:
        return ""
    more = f" ({saved.plain_passes / saved.passes:.3g} times as many)" if saved.passes else ""
    text = f"{saved.passes:,} frozen forward passes, a plain search {saved.plain_passes:,}{more}"
    if saved.plain_seconds is None or saved.seconds is None:
        return text
    return f"{text}; {clock_text(saved.seconds)} of device time for {clock_text(saved.plain_seconds)}"


def _plain_passes_of(record: TrialRecord, use: FeatureUse, images: Images) -> int:
    if record.config.get("classical.name", "none") != "none":  # each net once, each image in one view
        return len(_nets_of(record)) * (images.trained + images.predicted) * record.epochs
    return plain_passes(
        epochs=record.epochs,
        models=int(record.config.get("training.repeats", 1)),
        trained=images.trained,
        predicted=images.predicted,
        # `read` counts each training view and each prediction view once, so the rest are prediction views.
        prediction_views=max(1, use.read - use.views),
    )


def _nets_of(record: TrialRecord) -> set[str]:
    """Backbones whose features a closed-form head sees."""
    also = record.config.get("model.also") or ()
    return {record.config["model.backbone"], *(tap.rpartition("/")[0] for tap in also if "/" in tap)}


def _plain_seconds(with_prefix: Sequence[tuple[TrialRecord, FeatureUse]], passes: Sequence[int]) -> float:
    return sum(count * use.seconds_per_image for count, (_, use) in zip(passes, with_prefix, strict=True))
