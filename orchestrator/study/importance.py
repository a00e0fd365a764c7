"""How much each parameter of a search mattered for its best trials, by PED-ANOVA; nothing is written.

Source:
    Watanabe, Bansal and Hutter (2023), "PED-ANOVA: efficiently quantifying hyperparameter importance in
    arbitrary subspaces", IJCAI; conditional parameters as Optuna does it.
"""

import warnings
from typing import Any, Final

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from orchestrator.study.patience import Patience
from orchestrator.study.storage import open_storage
from orchestrator.study.study import MissingStudyError
from results.run.origin import is_where_it_was_made
from results.run.run_folder import RunFolder
from results.run.storage_url import without_password

FEWEST_TRIALS: Final = 10  # complete ones; a tenth of fewer is no group


def parameter_importances(run: RunFolder) -> dict[str, float]:
    """Return the share of each parameter in what sets the best tenth of the trials apart.

    A study of several metrics is asked for its front. The study is read, and may be written by a search
    meanwhile.

    Returns:
        Parameter -> share in [0, 1], the largest first; they add up to 1. Empty for fewer than
        `FEWEST_TRIALS` complete trials, and where no parameter differs.

    Raises:
        MissingStudyError: If the study cannot be read, or lies in a storage and the run was made elsewhere.
    """
    study = _opened(run)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST_TRIALS:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of conditions that few trials meet; they weigh as little
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), normalize=False)
    whole = sum(found.values())
    return {name: value / whole for name, value in found.items()} if whole > 0 else {}


def _opened(run: RunFolder) -> optuna.Study:
    search = run.search()
    url = search.request.study_storage
    if url and not is_where_it_was_made(run, search):
        raise MissingStudyError(
            f"{run.path} was made elsewhere, and a storage that such a run names is not asked; make the "
            f"report where the search was made, which has the study at {without_password(url)}"
        )
    if not url and not run.study_file.is_file():
        raise MissingStudyError(f"{run.study_file} is not there; it is made again by: {run.resume_command}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        # Not our own journal, which mends the file: another process may be writing it.
        journal = JournalFileBackend(str(run.study_file)) if not url else None
        place: Any = JournalStorage(journal) if journal else open_storage(url or "", Patience(minutes=0.5))
        return optuna.load_study(storage=place, study_name=search.study_name)
    except Exception as error:
        shown = without_password(url) if url else str(run.study_file)
        raise MissingStudyError(
            f"the study {shown} cannot be read: {without_password(str(error))}"
        ) from error
