"""An ensemble as it is kept in a run folder: its members, their combination, and what it may claim."""

import contextlib
import hashlib
from pathlib import Path
from typing import Final

from pydantic import Field, FiniteFloat, ValidationError

from results.ensembles.limits import DEFAULT_MEMBERS
from results.ensembles.methods import METHODS, FittedEnsemble
from results.ensembles.nested import BASELINE, BEST_SINGLE
from results.errors import EnsembleError, OutdatedEnsembleError
from results.run.prediction_costs import PredictionTime
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName
from results.scores.calibration import Platt
from results.scores.decision_rule import BALANCED, DecisionRule
from results.scores.interval import Interval
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.triage import TriageRule
from trainables.common.errors import UnknownNameError
from trainables.common.frozen import FrozenModel
from trainables.common.text import command_text, trials_text, typed_path
from trainables.features.locks import held

BEST: Final = "best"  # name under which the chosen ensemble is stored once more
BUILT: Final = (BEST_SINGLE, *METHODS, BASELINE)  # names under which ensembles are stored, in their order


class NestedScore(FrozenModel):
    """Scores to expect on new patients, see `results.ensembles.nested.EnsembleScore`.

    Attributes:
        metric: Name of the metric that the search optimises, the first of several.
        value: Its value; `low` and `high` are the ends of its interval. None in files of earlier versions,
            which knew the AUC alone.
        difference: Value minus that of the best single trial; None for that trial. `difference_low` and
            `difference_high` are the ends of its paired interval; those of all methods hold together in 95 %.
        metrics: Metric -> value; what a prediction costs is that of the ensemble's exported graph, in which
            members that share a backbone share its pass, or the sum over the members where it was not
            measured.
        missed: Requirements that these values do not keep.
        is_on_front: True if no other ensemble that keeps the requirements is better in all metrics; None for
            a search of one metric.
    """

    metric: str = "auc"
    value: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    auc: FiniteFloat
    auc_low: FiniteFloat
    auc_high: FiniteFloat
    fold_auc: tuple[FiniteFloat, ...]
    difference: FiniteFloat | None
    difference_low: FiniteFloat | None
    difference_high: FiniteFloat | None
    metrics: dict[str, FiniteFloat]
    missed: tuple[str, ...] = ()
    is_on_front: bool | None = None

    @property
    def interval(self) -> Interval:
        """The metric that the search optimises, with its interval."""
        if self.value is None or self.low is None or self.high is None:
            return Interval(self.auc, self.auc_low, self.auc_high)
        return Interval(self.value, self.low, self.high)


class Ensemble(FrozenModel):
    """`ensembles/<name>.json`: all that is needed to predict with the weights of some trials.

    Attributes:
        method: Name in `METHODS`, or `best_single` or `baseline` for one trial alone.
        trials: Numbers of the members, in the order of the first axis that `fitted.combine` expects.
        digests: SHA-256 of the out-of-fold predictions of each member, in the order of `trials`; empty in
            files of earlier versions.
        fitted: Combination rule, fitted on all out-of-fold predictions.
        calibration: Calibration of the combined positive probability of single fold models, fitted on nested
            predictions, which no part of the ensemble was fitted on; None beyond two classes.
        mean_calibration: Calibration where each member is the mean of its fold models, as in the exported
            file; None beyond two classes, and in files of earlier versions, which used `calibration` for it.
        threshold: Smallest calibrated probability that is called positive; see `DecisionRule`.
        thresholds: Metric -> threshold at which that metric is shown; empty in files of earlier versions.
        best_for: Name of the metric that `threshold` was chosen for.
        operation: What the user asked of the decisions when the ensemble was built.
        triage: Rule of two thresholds; None where none was asked for.
        recipe: Name of the recipe that asked for it, under which it is stored; empty for one of the run.
        is_chosen: True for the ensemble that is also stored as `best`.
        chosen_without: Method that would have been chosen without each fold, in ascending order of folds,
            where that is not always this one: then `nested` is the score of the choice between the ensemble
            and the baseline, which its own luck has no part in.
        collapsed: Members that give every image of some fold the same score; empty unless all candidates do.
        pool: Trial numbers of all trials that members could have been chosen from.
        is_named: The user named these trials.
        compared: Number of complete trials that were compared, the best by all folds where there are very
            many; None in files of earlier versions, which did not say it.
        complete: Number of complete trials, of which these are the best; None likewise.
        baselines: Those of them on colour and intensity only that could be shipped.
        max_members: Largest number of members; None in files of earlier versions.
        considered: Number of best trials among which members were looked for; None in files of earlier
            versions, which took the best ones as they were.
        split: Name of the kind of split; with a `naive split` patients lie in several folds, so that scores
            are too high.
        cost: Cost of its exported graph; None where it was not measured.
        max_ms: Longest time of an image that was allowed, in milliseconds; None for any.
    """

    method: str
    classes: tuple[str, ...]
    trials: tuple[int, ...] = Field(min_length=1)
    digests: tuple[str, ...] = ()
    fitted: FittedEnsemble
    calibration: Platt | None
    mean_calibration: Platt | None = None
    threshold: FiniteFloat
    thresholds: dict[str, FiniteFloat] = Field(default_factory=dict)
    best_for: str = BALANCED
    operation: Operation = NOTHING_ASKED
    triage: TriageRule | None = None
    nested: NestedScore
    recipe: str = ""
    is_chosen: bool = False
    chosen_without: tuple[str, ...] = ()
    collapsed: tuple[int, ...] = ()
    pool: tuple[int, ...]
    is_named: bool = False
    compared: int | None = None
    complete: int | None = None
    baselines: tuple[int, ...] = ()
    fingerprint: str
    seed: int
    max_members: int | None = None
    considered: int | None = None
    split: SplitName = GROUPED
    cost: PredictionTime | None = None
    max_ms: FiniteFloat | None = None

    @property
    def name(self) -> str:
        """Name that it is stored under: that of its recipe, or else of its method."""
        return self.recipe or self.method

    @property
    def gpu_ms(self) -> float | None:
        """Milliseconds of one image on the GPU; None where that was not measured."""
        return None if self.cost is None else self.cost.gpu_ms

    @property
    def build_options(self) -> tuple[str, ...]:
        """Options of `orchestrate ensemble` that ask for the same once more, word by word."""
        asked = self.operation
        options = (
            ("--members", None if self.max_members == DEFAULT_MEMBERS else self.max_members),
            ("--max-ms", None if self.max_ms is None else f"{self.max_ms:g}"),
            ("--at", asked.at),
            ("--prevalence", asked.prevalence),
            ("--triage", asked.triage),
        )
        return tuple(word for name, value in options if value is not None for word in (name, str(value)))

    @property
    def said_of_pool(self) -> str:
        """The trials that members were chosen from, in words, and what of them all folds have chosen."""
        # Further trials may have ended since it was built, so that these need not be all.
        which = f"the {self.complete or len(self.pool):,} trials completed by then"
        if self.recipe:
            which = f"the trials of {self.recipe}"
        elif self.is_named:
            which = "the trials that were named"
        elif self.compared is not None and self.complete is not None and self.complete > self.compared:
            which = f"the {self.compared:,} that all folds ranked first of {self.complete:,} complete trials"
        if self.max_ms is None:
            return which
        return (
            f"those of {which} that kept their weights by the scores of all folds and answer within "
            f"{self.max_ms:g} ms"
        )

    @property
    def said_of_choice(self) -> str:
        """A sentence where the folds do not agree on whether this ensemble or the other of two is chosen."""
        if not self.chosen_without:
            return ""
        others = [method for method in self.chosen_without if method != self.method]
        return (
            f"Without {len(others)} of {len(self.chosen_without)} folds {others[0]} would have been chosen, "
            f"so the score of {self.method} is that of this choice."
        )

    @property
    def digest(self) -> str:
        """Digest of the predictions of its members, and of all that was fitted to them."""
        named = {"trials", "digests", "fitted", "calibration", "mean_calibration"}
        return hashlib.sha256(self.model_dump_json(include=named).encode()).hexdigest()

    @property
    def rule(self) -> DecisionRule:
        """Calibration and thresholds."""
        return DecisionRule(
            calibration=self.calibration,
            mean_calibration=self.mean_calibration or self.calibration,
            threshold=self.threshold,
            thresholds=self.thresholds,
            best_for=self.best_for,
            operation=self.operation,
            triage=self.triage,
        )


def read_ensemble(run: RunFolder, name: str = BEST) -> Ensemble:
    """Read an ensemble by name: that of a method, `best_single`, `baseline`, `best`, or a recipe's.

    Raises:
        EnsembleError: If it was not built, or the file is not an ensemble.
        OutdatedEnsembleError: If a member has other predictions now than when it was built.
        UnknownNameError: If no ensemble has such a name.
    """
    known = (BEST, *BUILT, *names_of_recipes(run))
    if name not in known:
        raise UnknownNameError("ensemble", name, known)
    path = run.ensemble_file(name)
    try:
        found = Ensemble.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        if not any(record.state == "complete" for record in run.records()):
            raise nothing_completed(run) from error
        raise EnsembleError(
            f"no ensemble {name!r} in {run.path}; build it first with: "
            f"{command_text('orchestrate', 'ensemble', typed_path(run.path))}"
        ) from error
    except ValidationError as error:
        raise EnsembleError(
            f"{path} is not an ensemble: {error.errors()[0]['msg']}. Build it again with: "
            f"{run.command('ensemble')}"
        ) from error
    _check_members(run, found, path)
    if name == BEST and not _is_of_one_build(run, found):
        with contextlib.suppress(OSError, ValidationError), held(run.ensembles_lock, may_wait=True):
            found = Ensemble.model_validate_json(path.read_bytes())  # once a build that is being written is
        _check_same_build(run, found, path)
    return found


def build_again(run: RunFolder, name: str = BEST) -> str:
    """Return the command that builds the ensembles of a run again, with the options that this one had.

    Args:
        run: Folder of the search.
        name: Name of the ensemble; one that cannot be read, or that was built for a recipe, had none.
    """
    found = earlier_build(run, name)
    return run.command("ensemble", *(() if found is None else found.build_options))


def earlier_build(run: RunFolder, name: str = BEST) -> Ensemble | None:
    """Return an ensemble as its file has it, whatever became of its members since.

    Args:
        run: Folder of the search.
        name: Name of the ensemble.

    Returns:
        None where there is none, where it cannot be read, and where it was built for a recipe.
    """
    try:
        found = Ensemble.model_validate_json(run.ensemble_file(name).read_bytes())
    except (OSError, ValidationError):
        return None
    return None if found.recipe else found


def _is_of_one_build(run: RunFolder, best: Ensemble) -> bool:
    """Tell whether the chosen ensemble and those by name are of one build."""
    if best.recipe or not _built_by_name(run):
        return True
    named = earlier_build(run, best.method)
    return named is not None and (named.digest, named.rule) == (best.digest, best.rule)


def _built_by_name(run: RunFolder) -> list[str]:
    return [name for name in BUILT if run.ensemble_file(name).is_file()]


def _check_same_build(run: RunFolder, best: Ensemble, path: Path) -> None:
    """Make sure that the chosen ensemble and those by name are of one build, which nothing interrupted."""
    if _is_of_one_build(run, best):
        return
    others = _built_by_name(run)
    raise OutdatedEnsembleError(
        f"{path} is of another build than {', '.join(f'{name}.json' for name in others)} beside it, as after "
        f"a build that was interrupted; build it again with: {run.command('ensemble', *best.build_options)}"
    )


def names_of_recipes(run: RunFolder) -> list[str]:
    """Return the names of the recipes whose ensembles are in a run folder, sorted."""
    names = {path.stem for path in run.ensembles.glob("*.json")}
    return sorted(names - {BEST, *BUILT})


def _check_members(run: RunFolder, found: Ensemble, path: Path) -> None:
    known = zip(found.trials, found.digests, strict=False)  # of an earlier version there are none
    other = [number for number, digest in known if run.has_other_predictions(number, digest)]
    if other:
        raise OutdatedEnsembleError(
            f"{path} was built on other predictions of {trials_text(other)} than there are now, as after the "
            f"trial was run again, so that nothing it claims holds; build it again with: "
            f"{run.command('ensemble', *found.build_options)}"
        )


def nothing_completed(run: RunFolder) -> EnsembleError:
    """Return the error of a run without a complete trial."""
    return EnsembleError(
        f"no trial of {run.path} was completed, so there is no model of which anything could be claimed; "
        f"wait while its search runs, or go on with: {run.resume_command}"
    )
