"""The winner of a search against its baseline, a closed-form head on colour and intensity alone."""

from dataclasses import dataclass

from results.run.run_folder import RunFolder
from results.scores.comparison import differences_to
from results.scores.interval import Interval
from results.scores.ranking import Objective
from trainables.config.baseline import BASELINE_TEXT, is_baseline


@dataclass(frozen=True, slots=True)
class BaselineVerdict:
    """Comparison of the best trial with the best of those that see colour and intensity alone.

    Attributes:
        winner: Number of the best trial.
        baseline: Number of the best baseline trial; the winner itself where that is one.
        difference: AUC of the winner minus that of the baseline with its paired 95 % interval; None where
            both are one trial.
    """

    winner: int
    baseline: int
    difference: Interval | None

    @property
    def is_better(self) -> bool:
        """True if the interval of the difference lies above 0."""
        return self.difference is not None and self.difference.low is not None and self.difference.low > 0.0

    def message(self) -> str:
        """Say in one sentence that the winner is not better; empty where it is."""
        if self.is_better:
            return ""
        if self.difference is None:
            return f"nothing did better than {BASELINE_TEXT} (trial {self.baseline})"
        return (
            f"trial {self.winner} is not better than {BASELINE_TEXT} (trial {self.baseline}) by more than "
            f"chance: its AUC is higher by {self.difference}"
        )


def baseline_verdict(run: RunFolder) -> BaselineVerdict | None:
    """Compare the best trial of a run with its baseline; None where no baseline was completed.

    Raises:
        DataError: If the two trials do not hold the same images in the same folds.
    """
    search = run.search()
    objective = Objective(search.metric)
    complete = [record for record in run.records() if record.state == "complete"]
    best = objective.best(complete)
    baseline = objective.best([record for record in complete if is_baseline(record.config)])
    if best is None or baseline is None:
        return None
    if best.number == baseline.number:
        return BaselineVerdict(best.number, baseline.number, None)
    readable = {
        record.number: predictions for record, predictions in run.readable_predictions([best, baseline])
    }
    if len(readable) < 2:
        return None
    (difference,) = differences_to(
        readable[baseline.number], [readable[best.number]], seed=search.request.seed
    )
    return BaselineVerdict(best.number, baseline.number, difference)
