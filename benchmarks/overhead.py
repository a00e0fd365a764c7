"""Cost of a trial besides its training, from trials that train nothing, with five reports each, two at once.

    python -m benchmarks.overhead [--trials 200] [--tune-trials 16] [--long [N]] [--only-long] [--json FILE]

Ours is the Ray backend as in a search: trial manager, study in a journal file with the real search space,
records in a run folder, terminal and TensorBoard. Only the training is left out. It is compared with Optuna
alone, a pool of Ray actors with ask and tell, and Ray Tune with OptunaSearch and its default settings.
The row in processor time swings least: compare two versions of the code by it.
`--long` shows whether a late trial costs more than the 100th, and what memory a search grows by.
"""

import argparse
import io
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import optuna
import ray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from rich.console import Console
from rich.table import Table

from cluster.connect import connect, disconnect
from orchestrator.callbacks import Callback
from orchestrator.reporting.setting_columns import setting_columns
from orchestrator.reporting.tensorboard import TensorBoardLog
from orchestrator.reporting.terminal import SearchProgress
from orchestrator.study.method import method_of
from orchestrator.study.study import OptunaStudy, open_study
from orchestrator.tuning.ray_backend import Resources, run_trials
from orchestrator.tuning.trial_manager import TrialManager
from orchestrator.tuning.worker_report import WorkerReport
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.search_request import SearchRequest
from search_spaces.context import SpaceContext
from search_spaces.registry import space_named
from trainables.config.trial_config import TrialConfig, flatten
from trainables.features.feature_use import FeatureUse
from trainables.validation.cross_validation import EpochReport

REPORTS: Final = 5
AT_ONCE: Final = 2
_LONG: Final = 10_000
_WINDOW: Final = 100  # trials over which the cost at one point of a long search is averaged
_BACKBONES: Final = ("efficientnet_lite0", "vgg16", "resnet50", "inception_v3")
_CONTEXT: Final = SpaceContext(
    backbones=_BACKBONES,
    from_scratch=frozenset(),
    fine_tunes=dict.fromkeys(_BACKBONES, ("top",)),
    flattens=dict.fromkeys(_BACKBONES, ("top",)),
    levels=dict.fromkeys(_BACKBONES, ("top", "top+1")),
    adapts_channels=frozenset(),
    augmentations=("none", "flips", "d4"),
    sizes_px=dict.fromkeys(_BACKBONES, 224),
    epochs=REPORTS,
    images=400,
)


class NoTraining:
    """Replacement for `TrialRunner` that reports its epochs at once and writes a record as real ones do."""

    def __init__(
        self, run: RunFolder, number: int, config: TrialConfig, params: dict[str, Any], **given: Any
    ) -> None:
        self.run, self.number, self.config, self.params = run, number, config, params

    def step(self) -> WorkerReport:
        """Report all epochs and the end."""
        value = worth(self.number)
        scalars = {"loss/train": 0.5, "loss/validation": 0.6, "auc/validation": value, "fold_1/auc": value}
        epochs = tuple(EpochReport(e, value, scalars, (), e == REPORTS) for e in range(1, REPORTS + 1))
        self.run.write_record(
            TrialRecord(
                number=self.number,
                state="complete",
                value=value,
                best_epoch=REPORTS,
                epochs=REPORTS,
                config=flatten(self.config.model_dump(mode="json")),
                params=self.params,
                fingerprint="f" * 64,
                seed=0,
                finished_at=datetime.now(UTC),
            )
        )
        opened = FeatureUse(kind="stored views", stage="block7", views=8, computed=0, read=8)
        return WorkerReport(opened=opened, epochs=epochs, is_end=True)


def worth(number: int) -> float:
    """Return a score in [0.5, 1) that looks random but is the same in every run."""
    return 0.5 + (number * 0.6180339887 % 1.0) / 2


@dataclass
class Ends(Callback):
    """Callback that notes the end of each trial.

    Attributes:
        at: Wall clock in seconds.
        processor: Processor time of this process in seconds.
        memory: Memory of this process in MiB.
    """

    at: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def on_trial_end(self, record: TrialRecord) -> None:
        """Note time and memory."""
        self.at.append(time.perf_counter())
        self.processor.append(time.process_time())
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def ours(trials: int, folder: Path, *, is_watched: bool) -> Ends:
    """Run our Ray backend; returns the ends of the trials."""
    run, search = RunFolder(folder / f"run-{trials}-{is_watched}"), search_of(trials)
    progress, log = watchers(run, search)
    ends = Ends()
    callbacks = (progress, log, ends) if is_watched else (ends,)
    with progress:
        run_trials(managed(run, search, callbacks), run, Resources(1.0, 0.0, AT_ONCE), make_runner=NoTraining)
    return ends


class _Nowhere(io.StringIO):
    """A stream that keeps nothing, so that the memory of a long search is its own."""

    def write(self, text: str) -> int:
        return len(text)


def watchers(
    run: RunFolder, search: SearchRecord, *, workers: int = AT_ONCE
) -> tuple[SearchProgress, TensorBoardLog]:
    """Return the live view of a search, which draws into nothing, and its TensorBoard."""
    log = TensorBoardLog(run.tensorboard)
    log.write_experiment(setting_columns())
    progress = SearchProgress(
        task=search.task,
        name=search.name,
        data=search.source,
        trials=search.request.most_trials,
        minutes=None,
        workers=workers,
        is_synthetic=True,
        console=Console(file=_Nowhere(), width=100),
    )
    return progress, log


def ours_without_ray(trials: int, folder: Path) -> list[float]:
    """Propose, record and tell in this process; returns its processor time at the end of each trial."""
    run, ends = RunFolder(folder / "without-ray"), []
    manager = managed(run, search_of(trials), ())
    while (trial := manager.next()) is not None:
        report = NoTraining(run, trial.number, trial.config, trial.params).step()
        for epoch in report.epochs:
            manager.on_epoch(trial.number, epoch.epoch, epoch.value, epoch.scalars, epoch.collapsed)
        manager.on_end(trial.number)
        ends.append(time.process_time())
    return ends


def managed(
    run: RunFolder,
    search: SearchRecord,
    callbacks: tuple[Callback, ...],
    *,
    clock: Callable[[], float] = time.time,
) -> TrialManager:
    """Return the manager of a new search in a run folder, with its study in a journal file.

    Args:
        run: Folder of the search, which is made.
        search: Request and facts of the search.
        callbacks: Callbacks of the search.
        clock: Function that returns seconds.
    """
    run.write_search(search)
    study = open_study(storage=None, journal=run.study_file, name="overhead", is_new=True)
    context = SpaceContext.model_validate(search.space_context)
    proposer = OptunaStudy(study, space_named("benign_malignant"), context, {}, method_of(search))
    return TrialManager(run, search, proposer, callbacks, deadline=None, clock=clock)


def optuna_alone(trials: int, folder: Path) -> list[float]:
    """Ask, report and tell in a loop; returns the end time of each trial in seconds."""
    study, ends = _study(folder / "optuna.log"), []
    for _ in range(trials):
        trial = _ask(study)
        for epoch in range(1, REPORTS + 1):
            trial.report(worth(trial.number), epoch)
        study.tell(trial, worth(trial.number))
        ends.append(time.perf_counter())
    return ends


def actor_pool(trials: int, folder: Path) -> list[float]:
    """Run a pool of Ray actors that each return five reports, with ask and tell around it."""
    study, ends = _study(folder / "pool.log"), []
    actors: list[Any] = [ray.remote(num_cpus=1)(_Actor).remote() for _ in range(AT_ONCE)]
    running: dict[Any, tuple[Any, Any]] = {}
    asked = itertools.count()

    def start(actor: Any) -> None:
        if next(asked) < trials:
            trial = _ask(study)
            running[actor.run.remote(trial.number)] = (actor, trial)

    for actor in actors:
        start(actor)
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        actor, trial = running.pop(done)
        for epoch, value in enumerate(ray.get(done), start=1):
            trial.report(value, epoch)
        study.tell(trial, worth(trial.number))
        ends.append(time.perf_counter())
        start(actor)
    for actor in actors:
        ray.kill(actor)
    return ends


class _Actor:
    def run(self, number: int) -> list[float]:
        return [worth(number)] * REPORTS


def stock_tune(trials: int, folder: Path) -> list[float]:
    """Run Ray Tune with OptunaSearch and default settings: a new actor for each trial, the stock loggers."""
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    def trainable(config: dict[str, Any]) -> None:
        for _ in range(REPORTS):
            tune.report({"auc": 0.5 + config["x"] / 2})

    ends: list[float] = []

    class Watch(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ends.append(time.perf_counter())

    os.environ.pop("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", None)
    searcher = OptunaSearch(space=_define, metric="auc", mode="max")
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(searcher, max_concurrent=AT_ONCE), num_samples=trials
        ),
        run_config=tune.RunConfig(
            name="stock", storage_path=str(folder / "stock"), verbose=0, callbacks=[Watch()]
        ),
    ).fit()
    return ends


def _define(trial: optuna.Trial) -> dict[str, Any]:
    space_named("benign_malignant").configure(trial, _CONTEXT, {})
    return {"x": trial.suggest_float("x", 0.0, 1.0)}


def _study(journal: Path) -> optuna.Study:
    return optuna.create_study(storage=JournalStorage(JournalFileBackend(str(journal))), direction="maximize")


def _ask(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    space_named("benign_malignant").configure(trial, _CONTEXT, {})
    return trial


def milliseconds(ends: list[float], first: int = 0) -> float:
    """Return the wall-clock milliseconds per trial, from one end to another.

    Args:
        ends: End time of each trial, in seconds.
        first: Number of first trials to skip, since starting workers makes them slower in every setup.
    """
    window = ends[first:]
    return 1e3 * (window[-1] - window[0]) / (len(window) - 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--tune-trials", type=int, default=16, help="of stock Ray Tune, which is slow")
    parser.add_argument("--long", type=int, nargs="?", const=_LONG, help=f"also a search of {_LONG} trials")
    parser.add_argument("--only-long", action="store_true", help="nothing but the long search")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    connection = connect("local", cpus=AT_ONCE)
    try:
        with tempfile.TemporaryDirectory() as name:
            found = _measure(Path(name), asked)
    finally:
        disconnect(connection)
    _show(found)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


def _measure(folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    setups: dict[str, tuple[Callable[[], list[float]], int]] = {
        "ours, terminal and TensorBoard on": (
            lambda: ours(asked.trials, folder, is_watched=True).at,
            AT_ONCE,
        ),
        "ours, nobody watching": (lambda: ours(asked.trials, folder, is_watched=False).at, AT_ONCE),
        "ours without Ray, processor time": (lambda: ours_without_ray(asked.trials, folder), 0),
        "Optuna alone": (lambda: optuna_alone(asked.trials, folder), 0),
        "Ray actors, ask and tell": (lambda: actor_pool(asked.trials, folder), AT_ONCE),
        f"Ray Tune + OptunaSearch ({asked.tune_trials} trials)": (
            lambda: stock_tune(asked.tune_trials, folder),
            AT_ONCE,
        ),
    }
    found: dict[str, float] = {}
    measured = {} if asked.only_long else setups
    for name, (run, first) in measured.items():
        found[name] = milliseconds(run(), first)
        print(f"{name}: {found[name]:.1f} ms a trial", file=sys.stderr)
    if asked.long:
        found |= _long(ours(asked.long, folder, is_watched=True))
    return found


def _long(ends: Ends) -> dict[str, float]:
    """Cost of a trial and memory at several points of a long search."""
    found, trials = {}, len(ends.at)
    for at in sorted({_WINDOW, trials // 10, trials // 3, trials // 2, trials} - {0}):
        own = slice(max(0, at - _WINDOW), at)
        found[f"around trial {at}"] = milliseconds(ends.at[own], AT_ONCE)
        found[f"around trial {at}, processor time of the driver"] = milliseconds(ends.processor[own], AT_ONCE)
        found[f"at trial {at}, MiB of the driver"] = ends.memory[at - 1]
    return found


def _show(found: dict[str, float]) -> None:
    table = Table("setup", "ms a trial", "of ours")
    base = next(iter(found.values()))
    for name, value in found.items():
        table.add_row(name, f"{value:.1f}", f"{value / base:.2f}x")
    Console().print(table)


def search_of(trials: int, *, epochs: int = REPORTS) -> SearchRecord:
    """Return the record of a search of so many trials over the real space, which has no data."""
    request = SearchRequest(
        task="benign_malignant", data="none", trials=trials, workers=AT_ONCE, epochs=epochs
    )
    return SearchRecord(
        request=request,
        name="overhead",
        classes=("benign", "malignant"),
        label_codes="task",
        source="none",
        is_synthetic=True,
        fingerprint="f" * 64,
        store="store",
        metrics=("auc",),
        space_context=_CONTEXT.model_copy(update={"epochs": epochs}).model_dump(mode="json"),
        backbones=_BACKBONES,
        left_out={},
        trial_minutes=10.0,
        folds=4,
        test_share=0.2,
        gpus_per_trial=0.0,
        versions={},
        started_at=datetime.now(UTC),
    )


if __name__ == "__main__":
    main()
