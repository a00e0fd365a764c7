"""What a search builds on: trials of other runs, whose folds and sealed test part it takes over."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from orchestrator.request import SearchRequest
from results.errors import RunError
from results.run.records import SearchRecord, SourceTrial
from results.run.run_folder import RunFolder
from results.run.source_trials import find_source, source_record, source_search, type_probabilities
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.splits import Split, read_split
from trainables.data.training_data import TrainingData
from trainables.runtime.checkpoint import read_fold_weights
from trainables.runtime.trial_runtime import WarmStart


@dataclass(frozen=True, slots=True)
class WarmStartSources:
    """Trials that a search builds on.

    Attributes:
        start_from: Trial whose weights others start from; None without one.
        type_from: Trial that predicts the type of the finding; None without one.
        split: Split that the search takes over; None to make one.
        sentences: What the user should know.
    """

    start_from: SourceTrial | None = None
    type_from: SourceTrial | None = None
    split: Split | None = None
    sentences: tuple[str, ...] = ()

    @property
    def start(self) -> TrialConfig | None:
        """Configuration of the trial that others start from."""
        return None if self.start_from is None else decode(source_record(self.start_from).config)

    def tell(self, training_data: TrainingData) -> TrainingData:
        """The material with what the type trial says of its images."""
        return with_type_probabilities(training_data, self.type_from)


def find_sources(request: SearchRequest, fingerprint: str) -> WarmStartSources:
    """Find what a search builds on.

    Args:
        request: What the user asked for.
        fingerprint: Of the data.

    Raises:
        RunError: If a trial is not there, or belongs to other data or folds.
    """
    found = {
        option: find_source(text, request.runs, option=option)
        for option, text in (("--start-from", request.start_from), ("--type-from", request.type_from))
        if text is not None
    }
    splits: list[Split] = []
    sentences: list[str] = []
    for option, source in found.items():
        search, split = source_search(source), read_split(RunFolder(Path(source.run)).split_file)
        if search.fingerprint == fingerprint:
            splits.append(split)
            sentences.append(
                f"{option}: trial {source.trial} of {search.task}/{search.name}; its folds and sealed test "
                "part hold here too, whatever other options say, so no model has seen what it is scored on"
            )
        elif option == "--type-from":
            raise RunError(
                f"{option}: {search.task}/{search.name} was searched on other data; run it on these first"
            )
        else:
            sentences.append(
                f"{option}: trial {source.trial} of {search.task}/{search.name} was trained on other data "
                f"({search.source}): make sure that no patient is in both"
            )
        if option == "--type-from" and search.task != "mass_calcification":
            raise RunError(
                f"{option} needs a search of mass_calcification, and {source.run} is of {search.task}"
            )
    if len(splits) == 2:
        splits.sort(key=lambda split: -len(split.fold_of_group))  # the one that knows more patients
        _need_same_folds(*splits)
    return WarmStartSources(
        found.get("--start-from"),
        found.get("--type-from"),
        splits[0] if splits else None,
        tuple(sentences),
    )


def _need_same_folds(one: Split, other: Split) -> None:
    for group in one.fold_of_group.keys() & other.fold_of_group.keys():
        if one.fold_of_group[group] != other.fold_of_group[group]:
            raise RunError(
                f"--start-from and --type-from have different folds: {group} is in another part. Search the "
                "second of the two with --start-from or --type-from of the first"
            )


def with_type_probabilities(training_data: TrainingData, source: SourceTrial | None) -> TrainingData:
    """Give a material what a trial says of the type of each finding.

    Raises:
        RunError: If it does not say it of every image.
    """
    if source is None:
        return training_data
    return dataclasses.replace(training_data, type_probability=type_probabilities(source, training_data.rows))


def read_start(search: SearchRecord) -> WarmStart | None:
    """The finished trial that trials of a search start from; None without one.

    Raises:
        ConfigError: If its weights are gone.
    """
    source = search.start_from
    if source is None:
        return None
    config = decode(source_record(source).config)
    states = read_fold_weights(RunFolder(Path(source.run)).trial(source.trial) / "folds")
    return WarmStart(config, states[:: config.training.repeats])
