"""Scores of finalists that were trained again: how much of a search's ranking another seed would repeat.

The folds and the seed of a search have chosen its finalists, those of the repeats have not, so that the mean
over the repeats is free of that part of the winner's luck. The patients are the same: what the search owes to
them, the nested search tells.
"""

from statistics import fmean, stdev

from pydantic import AwareDatetime, Field, FiniteFloat, ValidationError

from results.errors import DamagedFileError
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.run.split_labels import SplitName
from results.scores.metrics import metric_named
from results.scores.ranking import objectives_of
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.frozen import FrozenModel
from trainables.common.text import trials_text


class RepeatedTrial(FrozenModel):
    """A trial that was trained again.

    Attributes:
        trial: Its number in the search.
        searched: Its value in the search, which chose it.
        values: Its value in each repeat; None where the trial failed.
        predictions_digest: SHA-256 of its out-of-fold predictions in the search; None where they could not be
            read, and in files of earlier versions.
    """

    trial: int = Field(ge=0)
    searched: FiniteFloat
    values: tuple[FiniteFloat | None, ...]
    predictions_digest: str | None = None

    @property
    def known(self) -> list[float]:
        """Values of the repeats in which it was completed."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """Mean over repeats; None if it failed in all."""
        return fmean(self.known) if self.known else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over repeats; None with fewer than two."""
        return stdev(self.known) if len(self.known) > 1 else None


class Repeats(FrozenModel):
    """Finalists of a search, trained again.

    Attributes:
        metric: Name of the metric.
        repeats: Number of repeats.
        trials: The finalists, from the best one of the search to its worst.
        split: Kind of the split, for the header.
        finished_at: When the last repeat had ended.
        outdated: Sentence that says so where the search has other finalists by now, by whoever reads it of a
            run folder; empty where they are these.
    """

    metric: str
    repeats: int = Field(ge=1)
    trials: tuple[RepeatedTrial, ...] = Field(min_length=1)
    split: SplitName
    finished_at: AwareDatetime
    outdated: str = ""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Trial numbers of the finalists."""
        return tuple(one.trial for one in self.trials)

    @property
    def wins(self) -> dict[int, int]:
        """Trial -> number of repeats in which it is the best finalist; of equal ones the earlier counts."""
        sign = 1.0 if metric_named(self.metric).higher_is_better else -1.0
        found = dict.fromkeys(self.numbers, 0)
        for repeat in range(self.repeats):
            merits = {
                one.trial: sign * value for one in self.trials if (value := one.values[repeat]) is not None
            }
            if merits:
                found[max(merits, key=lambda trial: merits[trial])] += 1
        return found

    def sentence(self) -> str:
        """Say what the repeats show of the winner, and where it is the winner no more."""
        return f"{self._sentence()} {self.outdated}".strip()

    def _sentence(self) -> str:
        metric, winner = metric_named(self.metric), self.trials[0]
        times = "once" if self.repeats == 1 else f"{self.repeats} times"
        if winner.mean is None:
            return f"Trained again {times}, trial {winner.trial} failed every time."
        spread = "" if winner.deviation is None else f" ± {winner.deviation:.3f}"
        said = (
            f"Trained again {times} with other seeds and folds, trial {winner.trial} has {metric.header} "
            f"{metric.text(winner.mean)}{spread}; the search, which chose it, said "
            f"{metric.text(winner.searched)}."
        )
        if len(self.trials) == 1:
            return said
        return (
            f"{said} It is the best of {len(self.trials)} finalists in {self.wins[winner.trial]} of "
            f"{self.repeats} repeats."
        )


def read_repeats(run: RunFolder) -> Repeats | None:
    """Read the scores of a run's repeats; None where there are none.

    Raises:
        DamagedFileError: If the file does not hold them, or a finalist was run again since.
    """
    try:
        found = Repeats.model_validate_json(run.repeats_file.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, IsADirectoryError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "it is a folder"
        raise DamagedFileError(
            f"{run.repeats_file} does not hold scores of repeats ({said}); make it again with: "
            f"{run.command('repeat')}"
        ) from error
    for one in found.trials:
        if run.has_other_predictions(one.trial, one.predictions_digest):
            raise DamagedFileError(
                f"{run.repeats_file} holds scores of trial {one.trial} before it was run again; make it "
                f"again with: {run.command('repeat')}"
            )
    return found.model_copy(update={"outdated": _said_of_age(run, found)})


def _said_of_age(run: RunFolder, found: Repeats) -> str:
    """Say that other trials are the best of the search by now; nothing where they cannot be ranked here."""
    if not run.search_file.is_file():
        return ""
    complete = [record for record in run.records() if record.state == "complete"]
    try:
        ranked = objectives_of(run.search()).rank(complete)[: len(found.trials)]
    except (UnknownNameError, ConfigError):
        return ""
    now = tuple(record.number for record in ranked)
    if now == found.numbers:
        return ""
    return (
        f"These are finalists of an earlier state of the search, whose best are {trials_text(now)} now; to "
        f"repeat those, move {run.repeat_run(1).path.parent} away and run: {run.command('repeat')}."
    )


def readable_repeats(run: RunFolder) -> Repeats | None:
    """Read the scores of a run's repeats; None where there are none, and where the file is damaged."""
    try:
        return read_repeats(run)
    except DamagedFileError:
        return None


def repeated_predictions(run: RunFolder, trial: int) -> tuple[OutOfFold, ...]:
    """Return the out-of-fold predictions of a trial in each finished repeat; none where it is no finalist.

    A damaged file with their scores counts as none; whoever opened the run has been told of it.

    Args:
        run: Run folder of the search.
        trial: Number of a trial.

    Raises:
        DamagedFileError: If the predictions of a repeat are damaged.
    """
    found = readable_repeats(run)
    own = None if found is None else next((one for one in found.trials if one.trial == trial), None)
    if found is None or own is None or None in own.values:
        return ()
    place = found.numbers.index(trial)
    return tuple(run.repeat_run(repeat + 1).out_of_fold(place) for repeat in range(found.repeats))
