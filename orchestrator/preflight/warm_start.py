"""Trials of other runs that a search starts from; it takes over their folds and sealed test part.

Data may have grown since: patients that the earlier search knew keep their parts then, and new ones are cut
likewise.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from orchestrator.request import SearchRequest
from results.errors import RunError
from results.predictors.start_weights import with_type_probabilities
from results.run.finding import find_run
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from results.run.source_trials import source_record, source_search
from results.run.test_accesses import opening_logs, openings_of
from results.scores.ranking import objectives_of
from search_spaces.enqueue import InitialPoint
from trainables.common.errors import OrchestrateError
from trainables.common.text import count_text
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.grown_split import known_parts
from trainables.data.patches import PatchSet, TaskRows, select_rows
from trainables.data.shared_images import NOT_SHARED, rows_elsewhere
from trainables.data.split_record import TEST, Split, read_split
from trainables.data.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class GrownFrom:
    """What data have grown from.

    Attributes:
        split: Split of the earlier search.
        known: Group of the grown data -> its part in that split.
    """

    split: Split
    known: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WarmStartSources:
    """Trials that a search builds on.

    Attributes:
        start_from: Trial whose weights others start from; None without one.
        type_from: Trial that predicts the type of the finding; None without one.
        split: Split that the search takes over; None to make one.
        grown: Earlier search on a part of these data, whose patients keep their parts; None for none.
        points: Best trials of the search to start from, where it has this task, to be tried first; the trial
            to start from is the first of them.
        messages: Remarks for the user.
    """

    start_from: SourceTrial | None = None
    type_from: SourceTrial | None = None
    split: Split | None = None
    grown: GrownFrom | None = None
    points: tuple[InitialPoint, ...] = ()
    messages: tuple[str, ...] = ()

    @property
    def start(self) -> TrialConfig | None:
        """Configuration of the trial that others start from."""
        return None if self.start_from is None else decode(source_record(self.start_from).config)

    def holding(self, fixed: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return fixed settings with the backbone that they imply: no other takes over a trial's weights."""
        if fixed.get("model.weights") != "start" or self.start is None:
            return fixed
        return {"model.backbone": self.start.model.backbone, **fixed}

    def complete(self, training_data: TrainingData) -> TrainingData:
        """Add the probabilities that the type trial predicts for the images of the training part."""
        return with_type_probabilities(training_data, self.type_from)


_MOST_POINTS: Final = 20  # of which the first that can run here are tried
NO_SOURCES: Final = WarmStartSources()


def find_sources(request: SearchRequest, patch_set: PatchSet, rows: TaskRows) -> WarmStartSources:
    """Find the trials that a search builds on, and which of its patients they have seen.

    Args:
        request: Options of the search.
        patch_set: The images.
        rows: Rows that have a part in the task.

    Raises:
        RunError: If a trial is not there, or belongs to other data or folds.
        SplitError: If patients lay in several parts of the earlier search.
    """
    found = {
        option: find_source_trial(text, request.runs, option=option, takes_net=takes_weights)
        for option, text, takes_weights in (
            ("--start-from", request.start_from, request.fixed_params.get("model.weights") == "start"),
            ("--type-from", request.type_from, False),
        )
        if text is not None
    }
    splits: list[Split] = []
    messages: list[str] = []
    grown: GrownFrom | None = None
    for option, source in found.items():
        search, split = source_search(source), read_split(RunFolder(Path(source.run)).split_file)
        if option == "--type-from" and search.task != "mass_calcification":
            raise RunError(
                f"{option} needs a search of mass_calcification, and {source.run} is of {search.task}"
            )
        if search.fingerprint == patch_set.fingerprint:
            splits.append(split)
            messages.append(
                f"{option}: trial {source.trial} of {search.task}/{search.name}; its folds and sealed test "
                "part hold here too, whatever other options say, so no model has seen what it is scored on"
            )
        elif option == "--type-from":
            raise RunError(
                f"{option}: {search.task}/{search.name} was searched on other data; run it on these first"
            )
        else:
            grown, message = _grown_from(request, source, split, patch_set, rows)
            messages.append(message)
    if len(splits) == 2:
        splits.sort(key=lambda split: -len(split.fold_of_group))  # the one that knows more patients
        _check_same_folds(splits[0].fold_of_group, splits[1].fold_of_group)
    if splits and grown is not None:
        _check_same_folds(grown.known, splits[0].fold_of_group)
    return WarmStartSources(
        found.get("--start-from"),
        found.get("--type-from"),
        splits[0] if splits else None,
        None if splits else grown,
        _best_points(found.get("--start-from"), request.task),
        tuple(messages),
    )


def _best_points(source: SourceTrial | None, task: str) -> tuple[InitialPoint, ...]:
    """Trials of the search to start from as points, that trial before the best; none of another task."""
    if source is None or source_search(source).task != task:
        return ()
    run, search = RunFolder(Path(source.run)), source_search(source)
    complete = [record for record in run.records() if record.state == "complete"]
    ranked = objectives_of(search).rank(complete)
    ranked.sort(key=lambda record: record.number != source.trial)
    return tuple(InitialPoint(f"{search.name}:{one.number}", one.config) for one in ranked[:_MOST_POINTS])


def _grown_from(
    request: SearchRequest, source: SourceTrial, split: Split, patch_set: PatchSet, rows: TaskRows
) -> tuple[GrownFrom | None, str]:
    """What data have grown from, and a sentence on it; None if no patient of theirs was there before."""
    run, search = RunFolder(Path(source.run)), source_search(source)
    before = f"--start-from: trial {source.trial} of {search.task}/{search.name}"
    theirs: TaskRows | None = None
    same = np.full(len(patch_set.labels), NOT_SHARED, dtype=np.int64)
    with contextlib.suppress(OrchestrateError):  # the store may have been emptied since
        earlier = run.patch_set()
        theirs = select_rows(earlier, search.task_definition)
        same = rows_elsewhere(patch_set, earlier)
    known = known_parts(rows, split, theirs, same)
    if not known:
        compared = "no patient or image of theirs is in these data"
        if theirs is None:
            compared = "its images are gone from the store, so make sure that no patient is in both"
        return None, f"{before} was trained on other data ({search.source}): {compared}"
    if request.naive_split:
        raise RunError(
            f"{before} has seen {count_text(len(known), split.unit)} of these data, and --naive-split would "
            "part their images: leave out one of the two"
        )
    sealed = sum(part == TEST for part in known.values())
    new = len(set(rows.groups.tolist()) - set(known))
    said = (
        f"{before} was trained on data that have grown: {count_text(len(known), split.unit)} of theirs "
        f"{'is' if len(known) == 1 else 'are'} here, too, and stay in their folds, whatever other options "
        f"say, so no model has seen what it is scored on; {sealed} of them were sealed and stay so; {new} new"
    )
    if theirs is None:
        said += (
            ". Their images are gone from the store, so patients are known by their names alone: make sure "
            "that none has another name here"
        )
    if sealed and (opened := len(openings_of(run, split))):
        said += f". WARNING: their test part was opened {count_text(opened, 'time')}"
    return GrownFrom(split, known), said


def _check_same_folds(one: Mapping[str, int], other: Mapping[str, int]) -> None:
    for group in sorted(one.keys() & other.keys()):
        if one[group] != other[group]:
            raise RunError(
                f"--start-from and --type-from have different folds: {group} is in another part. Search the "
                "second of the two with --start-from or --type-from of the first"
            )


def find_source_trial(text: str, root: Path, *, option: str, takes_net: bool = False) -> SourceTrial:
    """Return the finished trial that the user means.

    Args:
        text: `RUN` or `RUN:TRIAL`, where a run is what `find_run` understands; its best trial by default.
        root: Folder of all runs.
        option: Name of the option, for messages.
        takes_net: Take the weights of a net, which closed-form heads have not.

    Raises:
        RunError: If there is no such run or trial, or the trial kept no weights that are wanted.
    """
    name, colon, number = text.rpartition(":")
    if not colon or not number.isdigit():
        name, number = text, ""
    run = find_run(name, root)
    usable = [record for record in run.records() if record.state == "complete" and record.has_weights]
    if not usable:
        raise RunError(f"{option} {text}: {run.path} holds no complete trial that kept its weights")
    if takes_net:
        usable = [record for record in usable if record.config.get("classical.name", "none") == "none"]
        if not usable:
            raise RunError(
                f"{option} {text}: model.weights=start takes over a net, and the trials of {run.path} that "
                "kept their weights are closed-form heads: leave it out, and their settings are tried first"
            )
    if not number:
        return _source(run, objectives_of(run.search()).rank(usable)[0])
    for record in usable:
        if record.number == int(number):
            return _source(run, record)
    known = ", ".join(str(record.number) for record in usable)
    raise RunError(f"{option} {text}: no complete trial {number} with weights; there are {known}")


def _source(run: RunFolder, record: TrialRecord) -> SourceTrial:
    search = run.search()
    return SourceTrial(
        run=str(run.path.resolve()),
        trial=record.number,
        started_at=search.started_at,
        split_digest=search.split_digest,
        predictions_digest=record.predictions_digest,
        logs=opening_logs(run),
    )
