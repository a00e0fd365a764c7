"""Trials of other runs that a search starts from; it takes over their folds and sealed test part."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.request import SearchRequest
from results.errors import RunError
from results.predictors.start_weights import with_type_probabilities
from results.run.finding import find_run
from results.run.records import SourceTrial, TrialRecord
from results.run.run_folder import RunFolder
from results.run.source_trials import source_record, source_search
from results.scores.ranking import objectives_of
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.splits import Split, read_split
from trainables.data.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class WarmStartSources:
    """Trials that a search builds on.

    Attributes:
        start_from: Trial whose weights others start from; None without one.
        type_from: Trial that predicts the type of the finding; None without one.
        split: Split that the search takes over; None to make one.
        messages: Remarks for the user.
    """

    start_from: SourceTrial | None = None
    type_from: SourceTrial | None = None
    split: Split | None = None
    messages: tuple[str, ...] = ()

    @property
    def start(self) -> TrialConfig | None:
        """Configuration of the trial that others start from."""
        return None if self.start_from is None else decode(source_record(self.start_from).config)

    def complete(self, training_data: TrainingData) -> TrainingData:
        """Add the probabilities that the type trial predicts for the images of the training part."""
        return with_type_probabilities(training_data, self.type_from)


def find_sources(request: SearchRequest, fingerprint: str) -> WarmStartSources:
    """Find the trials that a search builds on.

    Args:
        request: Options of the search.
        fingerprint: Hash of the data.

    Raises:
        RunError: If a trial is not there, or belongs to other data or folds.
    """
    found = {
        option: find_source_trial(text, request.runs, option=option)
        for option, text in (("--start-from", request.start_from), ("--type-from", request.type_from))
        if text is not None
    }
    splits: list[Split] = []
    messages: list[str] = []
    for option, source in found.items():
        search, split = source_search(source), read_split(RunFolder(Path(source.run)).split_file)
        if search.fingerprint == fingerprint:
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
            messages.append(
                f"{option}: trial {source.trial} of {search.task}/{search.name} was trained on other data "
                f"({search.source}): make sure that no patient is in both"
            )
        if option == "--type-from" and search.task != "mass_calcification":
            raise RunError(
                f"{option} needs a search of mass_calcification, and {source.run} is of {search.task}"
            )
    if len(splits) == 2:
        splits.sort(key=lambda split: -len(split.fold_of_group))  # the one that knows more patients
        _check_same_folds(*splits)
    return WarmStartSources(
        found.get("--start-from"),
        found.get("--type-from"),
        splits[0] if splits else None,
        tuple(messages),
    )


def _check_same_folds(one: Split, other: Split) -> None:
    for group in one.fold_of_group.keys() & other.fold_of_group.keys():
        if one.fold_of_group[group] != other.fold_of_group[group]:
            raise RunError(
                f"--start-from and --type-from have different folds: {group} is in another part. Search the "
                "second of the two with --start-from or --type-from of the first"
            )


def find_source_trial(text: str, root: Path, *, option: str) -> SourceTrial:
    """Return the finished trial that the user means.

    Args:
        text: `RUN` or `RUN:TRIAL`, where a run is what `find_run` understands; its best trial by default.
        root: Folder of all runs.
        option: Name of the option, for messages.

    Raises:
        RunError: If there is no such run or trial, or the trial kept no weights.
    """
    name, colon, number = text.rpartition(":")
    if not colon or not number.isdigit():
        name, number = text, ""
    run = find_run(name, root)
    usable = [record for record in run.records() if record.state == "complete" and record.has_weights]
    if not usable:
        raise RunError(f"{option} {text}: {run.path} holds no complete trial that kept its weights")
    if not number:
        return _source(run, objectives_of(run.search()).rank(usable)[0])
    for record in usable:
        if record.number == int(number):
            return _source(run, record)
    known = ", ".join(str(record.number) for record in usable)
    raise RunError(f"{option} {text}: no complete trial {number} with weights; there are {known}")


def _source(run: RunFolder, record: TrialRecord) -> SourceTrial:
    return SourceTrial(run=str(run.path.resolve()), trial=record.number)
