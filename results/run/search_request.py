"""The request of a search: its options, and what follows from them."""

from typing import Any, Final

from results.run.search_options import DEFAULT_FOLDS, SearchOptions
from results.run.storage_url import with_absolute_path, without_password
from trainables.config.tasks import Task, task_named

DEFAULT_TRIALS: Final = 24  # of a search without a time limit
TRIALS_OF_TIME: Final = 10_000  # at most, of a search that its time limit ends


class SearchRequest(SearchOptions):
    """Options of a search, and what follows from them; frozen, and unknown names are refused.

    Attributes: see the descriptions of the fields, which are the documentation of the options.
    """

    @property
    def task_definition(self) -> Task:
        """The task: the user's own, or the built-in one of that name.

        Raises:
            UnknownNameError: If there is none.
        """
        return self.own_task or task_named(self.task)

    @property
    def fold_count(self) -> int:
        """Number of folds; 1 for a hold-out."""
        if self.holdout is not None:
            return 1
        return DEFAULT_FOLDS if self.folds is None else self.folds

    @property
    def fills_its_time(self) -> bool:
        """True if its time limit alone is to end the search: with one, and without a number of trials."""
        return self.trials is None and self.minutes is not None

    @property
    def most_trials(self) -> int:
        """Number of trials with which the search has ended, whatever time is left."""
        if self.trials is not None:
            return self.trials
        return TRIALS_OF_TIME if self.fills_its_time else DEFAULT_TRIALS

    @property
    def asked_trials(self) -> int | None:
        """Number of trials to speak of; None where the search takes as many as its time allows."""
        return None if self.fills_its_time else self.most_trials

    @property
    def fewest_cpus(self) -> float:
        """CPU cores that every trial has: as asked for, else 1."""
        return 1.0 if self.cpus_per_trial is None else self.cpus_per_trial

    @property
    def memory_bytes(self) -> int | None:
        """Memory of a machine that the search may use, in bytes; None for no limit."""
        return None if self.memory_gb is None else round(1e9 * self.memory_gb)

    @property
    def space_name(self) -> str:
        """Name of the search space: the user's own, or the task's."""
        return self.space or self.task

    def resolved(self, *, data: str) -> "SearchRequest":
        """Return the request to record: with absolute paths, so that it means the same in every folder.

        A password in the URL of the study's storage is left out.
        """
        changes: dict[str, Any] = {
            name: path.resolve()
            for name in ("weights_dir", "runs", "store", "shared_store")
            if (path := getattr(self, name)) is not None
        }
        if self.study_storage is not None:
            changes["study_storage"] = with_absolute_path(without_password(self.study_storage))
        return self.model_copy(update={**changes, "data": data})
