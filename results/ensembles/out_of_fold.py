"""Out-of-fold predictions of any model of a run: of a trial its own, of an ensemble nested ones."""

from results.ensembles.ensemble import BEST, Ensemble, read_ensemble
from results.ensembles.members import Members, align, kind_of
from results.ensembles.nested import by_fold, nested_predictions
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.scores.ranking import objectives_of


def out_of_fold_of(
    run: RunFolder, *, ensemble: str = BEST, trial: int | None = None, is_of_choice: bool = True
) -> tuple[OutOfFold, str]:
    """Return predictions that no part of the model was fitted on, and the model's name.

    Args:
        run: Folder of the search.
        ensemble: Name of a method or recipe, `best_single` or `best`; not used if a trial is given.
        trial: Number of a single trial, or None; it needs no weights.
        is_of_choice: As for `nested_again`; False where something of the ensemble itself, such as its
            threshold, is shown with the predictions.

    Raises:
        EnsembleError: If the ensemble was not built.
        UnknownNameError: If no ensemble has such a name.
        RunError: If the trial is not complete.
    """
    if trial is not None:
        return run.out_of_fold(trial), f"trial {trial}"
    found = read_ensemble(run, ensemble)
    predictions = nested_again(pool_of(run, found), found, is_of_choice=is_of_choice)
    return predictions, f"ensemble {found.name}"


def nested_of(run: RunFolder, ensemble: Ensemble) -> OutOfFold:
    """Return the nested predictions of an ensemble: each fold by members chosen and fitted without it."""
    return nested_again(pool_of(run, ensemble), ensemble)


def pool_of(run: RunFolder, ensemble: Ensemble) -> Members:
    """Return the trials that the members of an ensemble were chosen from, as they were then.

    Args:
        run: Folder of the search.
        ensemble: The ensemble.
    """
    objectives = objectives_of(run.search())
    found = {number: run.record(number) for number in ensemble.pool}
    records = {number: record for number, record in found.items() if record is not None}
    return align(
        {number: run.out_of_fold(number) for number in ensemble.pool},
        objectives=objectives,
        costs={
            number: {name: record.values[name] for name in objectives.costs if name in record.values}
            for number, record in records.items()
        },
        kinds={number: kind_of(record.config) for number, record in records.items()},
        baselines=ensemble.baselines,
    )


def nested_again(pool: Members, ensemble: Ensemble, *, is_of_choice: bool = True) -> OutOfFold:
    """Predict each fold as an ensemble did when it was built: by members chosen and fitted without it.

    Args:
        pool: Predictions of the trials that its members may be chosen from.
        ensemble: The ensemble.
        is_of_choice: Where its scores are those of the choice between it and the baseline, so are these
            predictions; False for those of the ensemble alone.
    """
    most = ensemble.max_members or len(ensemble.trials)
    without = ensemble.chosen_without if is_of_choice else ()
    own = {
        method: nested_predictions(
            pool, method, max_members=most, seed=ensemble.seed, considered=ensemble.considered or most
        )
        for method in {ensemble.method, *without}
    }
    return by_fold(own, ensemble.method, without)
