"""Where the files of a run lie, and the commands on it; no file is read or written."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from trainables.common.text import command_text, typed_path

_OUTER, _REPEATS = "outer", "repeats"  # folders of the searches within a search
_WITHIN: Final = {_OUTER: "nest", _REPEATS: "repeat"}  # and the verbs that run them


def store_folder(runs: Path, store: Path | None = None) -> Path:
    """Return the folder of stored data and features: the one that is given, else `.store` in that of runs."""
    return runs / ".store" if store is None else store


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Names of the files and folders in `runs/<task>/<name>/`."""

    path: Path

    @property
    def search_file(self) -> Path:
        """Request and facts of the search, as YAML."""
        return self.path / "search.yaml"

    @property
    def split_file(self) -> Path:
        """Split manifest: the fold of each patient, or the sealed test part."""
        return self.path / "split.json"

    @property
    def baseline(self) -> Path:
        """Folder of the reference on colour and intensity only, where no trial sees just these."""
        return self.path / "baseline"

    @property
    def study_file(self) -> Path:
        """Optuna's journal of the study."""
        return self.path / "study.log"

    @property
    def initial_points_file(self) -> Path:
        """Configurations that the search tries first, as JSON; point k is trial k."""
        return self.path / "initial_points.json"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard event files, one for each trial."""
        return self.path / "tensorboard"

    @property
    def leaderboard_file(self) -> Path:
        """Leaderboard, as CSV."""
        return self.path / "leaderboard.csv"

    @property
    def report_file(self) -> Path:
        """Report of the search, as one HTML page."""
        return self.path / "report.html"

    @property
    def bundle(self) -> Path:
        """Bundle of the model that a search with `--finish` exports at its end."""
        return self.path / "bundle"

    @property
    def costs_file(self) -> Path:
        """What predictions of the run's models cost, as JSON."""
        return self.path / "prediction_costs.json"

    @property
    def sessions_file(self) -> Path:
        """What the workers did with their time: one line of JSON for each session."""
        return self.path / "sessions.jsonl"

    @property
    def openings_file(self) -> Path:
        """Log of every time that the sealed test part was read."""
        return self.path / "test_openings.jsonl"

    @property
    def explanations(self) -> Path:
        """Folder of relevance maps, with a folder for each model and method."""
        return self.path / "explanations"

    @property
    def outer_file(self) -> Path:
        """Result of the nested search, as JSON."""
        return self.path / "outer.json"

    def outer_run(self, fold: int) -> Self:
        """Run folder of the search that does not see an outer fold, 1-based."""
        return replace(self, path=self.path / _OUTER / str(fold))

    @property
    def outer_fold_file(self) -> Path:
        """In the folder of a search that does not see an outer fold: what predicted that fold, as JSON."""
        return self.path / "outer_fold.json"

    @property
    def outer_predictions_file(self) -> Path:
        """In the folder of a search that does not see an outer fold: the predictions of that fold."""
        return self.path / "outer_fold.npz"

    @property
    def repeats_file(self) -> Path:
        """Scores of the finalists that were trained again, as JSON."""
        return self.path / "repeats.json"

    def repeat_run(self, repeat: int) -> Self:
        """Run folder of the search that trains the finalists again, 1-based."""
        return replace(self, path=self.path / _REPEATS / str(repeat))

    def student_run(self, method: str, number: int) -> Self:
        """Run folder of the student that learned from an ensemble by the configuration of a trial."""
        return replace(self, path=self.path / "students" / f"{method}-{number:04d}")

    def trial(self, number: int) -> Path:
        """Folder of one trial."""
        return self.path / "trials" / f"{number:04d}"

    def record_file(self, number: int) -> Path:
        """Record of one trial, written when the trial has ended."""
        return self.trial(number) / "record.json"

    def checkpoint_file(self, number: int) -> Path:
        """Checkpoint of a trial that has not ended."""
        return self.trial(number) / "checkpoint.safetensors"

    def weights_folder(self, number: int) -> Path:
        """Folder of the weights of a trial's folds."""
        return self.trial(number) / "folds"

    def mark_file(self, mark: str) -> Path:
        """Empty file by which a worker knows that it sees this very folder, and not one of the same path."""
        return self.path / f".mark-{mark}"

    @property
    def ray_scratch(self) -> Path:
        """What Ray Tune writes while the search runs; it is removed at the end."""
        return self.path / ".ray"

    @property
    def lock_file(self) -> Path:
        """Empty file that the process which runs the search holds locked."""
        return self.path / ".lock"

    @property
    def owner_file(self) -> Path:
        """Process that runs the search, and its beats, for machines to which locks are not carried."""
        return self.path / ".owner.json"

    def predictions_file(self, number: int) -> Path:
        """Out-of-fold predictions of one trial, written before its record."""
        return self.trial(number) / "oof.npz"

    @property
    def ensembles(self) -> Path:
        """Folder of the ensembles."""
        return self.path / "ensembles"

    def ensemble_file(self, name: str) -> Path:
        """File of one ensemble."""
        return self.ensembles / f"{name}.json"

    @property
    def ensembles_lock(self) -> Path:
        """Empty file that a process which writes the ensembles of a build holds locked."""
        return self.path / ".ensembles.lock"

    @property
    def store_limit_file(self) -> Path:
        """Bytes that stored features may take now, by the disk budget of the search."""
        return self.path / ".store_limit"

    @property
    def resume_command(self) -> str:
        """Command that goes on with the search, as it can be pasted.

        One within another search is gone on with by the verb that runs it, which does the rest, too.
        """
        verb, whole = _WITHIN.get(self.path.parent.name), replace(self, path=self.path.parent.parent)
        return whole.command(verb) if verb and whole.search_file.is_file() else self.command("resume")

    def command(self, verb: str, *options: str) -> str:
        """Command of a verb on this run, as it can be pasted."""
        return command_text("orchestrate", verb, typed_path(self.path), *options)
