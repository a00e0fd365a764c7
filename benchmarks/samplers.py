"""What each sampler and pruner costs and brings, on real trials that every arm shares.

    python -m benchmarks.samplers [--data phantom|PATH] [--seeds 5] [--trials 24] [--frozen] [--work FOLDER]

Every sampler runs with the default pruner, and every pruner with the default sampler, one trial after the
other in this process, on the space of the task with the backbones whose weights are at hand. A seed is one
split and one stream of proposals. A configuration is trained once for each seed, to its end; the arms that
propose it are shown its epochs one by one until their pruner stops it, so that they differ in nothing but
what they decide; nothing that is known of other sets is proposed. What has been trained, and each arm that
has ended, stays in the folder and is not repeated.

Columns: best value (mean AUC over folds); nested (AUC of the best trial chosen anew without each fold); curve
(mean over trials of the best value so far); epochs trained; minutes of training that these took when they
were trained; seconds a proposal. Means over seeds, with standard errors.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna

from cluster.background import KnownConnection
from orchestrator.preflight.this_machine import this_machine
from orchestrator.request import SearchRequest
from orchestrator.study.method import method_of
from orchestrator.study.pruners import DEFAULT, pruner_names
from orchestrator.study.samplers import sampler_names
from orchestrator.study.study import OptunaStudy, open_study
from orchestrator.study.trial_spec import TrialSpec
from orchestrator.tuning.setup import prepare_search
from orchestrator.tuning.trial_runner import TrialRunner
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.metrics import mean_fold_auc
from results.scores.selection import selected_again
from search_spaces.context import SpaceContext
from search_spaces.registry import space_named
from trainables.common.files import write_atomically
from trainables.config.trial_config import TrialConfig

TASK: Final = "benign_malignant"
DEFAULT_SAMPLER: Final = "tpe"
_EPOCHS: Final = 12


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a trained configuration.

    Attributes:
        value: Mean AUC over folds at the best epoch so far.
        folds: AUC of each fold.
        seconds: Seconds that the epoch took; of the first, the opening included.
    """

    value: float
    folds: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Arm:
    """What a sampler and a pruner cost and brought in one search.

    Attributes:
        best: Best value of a complete trial.
        nested: AUC of the best trial chosen anew without each fold.
        curve: Mean over trials of the best value so far.
        epochs: Epochs trained.
        minutes: Minutes of training that these took.
        proposal_seconds: Seconds of a proposal, mean.
    """

    best: float
    nested: float
    curve: float
    epochs: float
    minutes: float
    proposal_seconds: float


class Trainer:
    """Trains configurations of one seed to their end, each once.

    Args:
        run: Run folder whose trials they become.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._file = run.path / "trained.json"
        self._known: dict[str, dict[str, Any]] = (
            json.loads(self._file.read_text()) if self._file.exists() else {}
        )

    def trained(self, config: TrialConfig) -> tuple[tuple[Epoch, ...], TrialRecord, OutOfFold | None]:
        """Return epochs, record and predictions of a configuration; of one that failed no predictions."""
        key = json.dumps(config.model_dump(mode="json"), sort_keys=True)
        if key not in self._known:
            number = len(self._known)
            self._known[key] = {
                "number": number,
                "epochs": [asdict(own) for own in self._train(number, config)],
            }
            write_atomically(self._file, json.dumps(self._known).encode())
        known = self._known[key]
        record = self.run.record(known["number"])
        assert record is not None
        shown = tuple(Epoch(own["value"], tuple(own["folds"]), own["seconds"]) for own in known["epochs"])
        predictions = self.run.out_of_fold(record.number) if record.state == "complete" else None
        return shown, record, predictions

    def _train(self, number: int, config: TrialConfig) -> Iterator[Epoch]:
        if self.run.trial(number).exists():
            shutil.rmtree(self.run.trial(number))  # half a trial of a benchmark that was interrupted
        every = range(1, config.training.epochs + 1)
        runner = TrialRunner(self.run, number, config, {}, gpus=0.0, cpus=1.0, compared_at=every)
        is_end, began = False, time.perf_counter()
        while not is_end:
            step = runner.step()
            is_end, now = step.is_end, time.perf_counter()
            for report in step.epochs:
                yield Epoch(report.value, report.fold_values, (now - began) / len(step.epochs))
            began = now if step.epochs else began


def run_arm(search: SearchRecord, journal: Path, trainer: Trainer) -> Arm:
    """Run one search without Ray: ask, show epochs, tell."""
    journal.unlink(missing_ok=True)  # of an arm that was interrupted
    study = OptunaStudy(
        open_study(storage=None, journal=journal, name="ablation", is_new=True),
        space_named(search.request.space_name),
        SpaceContext.model_validate(search.space_context),
        search.request.fixed_params,
        replace(method_of(search), tried=()),
    )
    asked, epochs, seconds, so_far, found = list[float](), 0, 0.0, list[float](), list[OutOfFold]()
    while True:
        began = time.perf_counter()
        spec = study.ask()
        asked.append(time.perf_counter() - began)
        if spec is None:
            break
        shown, ended, predictions = trainer.trained(spec.config)
        last = _stopped_at(study, spec, shown)
        epochs += last
        seconds += sum(own.seconds for own in shown[:last])
        is_pruned = last < len(shown)
        study.tell(_as_told(ended, spec, shown[last - 1] if is_pruned else None, last))
        if predictions is not None and not is_pruned:
            found.append(predictions)
        so_far.append(max((_value(own) for own in found), default=0.5))
    nested = _value(selected_again(found, seed=0))
    return Arm(so_far[-1], nested, float(np.mean(so_far)), epochs, seconds / 60, float(np.mean(asked[:-1])))


def _stopped_at(study: OptunaStudy, spec: TrialSpec, shown: Sequence[Epoch]) -> int:
    """Number of epochs of a trial that a study lets run."""
    for epoch, own in enumerate(shown, start=1):
        if study.should_prune(spec.number, epoch, own.value, own.folds) and epoch < len(shown):
            return epoch
    return len(shown)


def _as_told(ended: TrialRecord, spec: TrialSpec, at: Epoch | None, last: int) -> TrialRecord:
    """The record of a trial under the number that the study knows, stopped at an epoch or at its end."""
    changes: dict[str, Any] = {"number": spec.number, "params": spec.params}
    if at is not None:
        changes |= {"state": "pruned", "cause": "pruner", "value": at.value, "epochs": last}
    return ended.model_copy(update=changes)


def _value(predictions: OutOfFold) -> float:
    return float(mean_fold_auc(predictions.labels, predictions.probabilities[None], predictions.folds)[0])


def prepared_run(work: Path, name: str, **options: Any) -> RunFolder:
    """Return the run folder of a seed: its split, its space, and the trials that are trained in it."""
    run = RunFolder(work / "runs" / TASK / name)
    if not run.search_file.exists():
        request = SearchRequest(
            task=TASK,
            name=name,
            runs=work / "runs",
            store=work / "store",
            may_download=False,
            epochs=_EPOCHS,
            trial_minutes=2.0,
            **options,
        )
        prepare_search(request, KnownConnection(this_machine()), lambda message: None)
    return run


def arms() -> list[tuple[str, str]]:
    """Every sampler with the default pruner, then every other pruner with the default sampler."""
    others = [(DEFAULT_SAMPLER, pruner) for pruner in pruner_names() if pruner != DEFAULT]
    return [(sampler, DEFAULT) for sampler in sampler_names()] + others


def ran_arm(work: Path, asked: argparse.Namespace, sampler: str, pruner: str, seed: int) -> Arm:
    """Run an arm, or read it if it has ended before."""
    data, trials = asked.data, asked.trials
    held = {"model.trained_stages": 0} if asked.frozen else {}
    name = f"{Path(data).stem}-{trials}-{seed}{'-frozen' if asked.frozen else ''}"
    file = work / "arms" / f"{name}-{sampler}-{pruner}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        run = prepared_run(work, name, data=data, seed=seed, trials=trials, fixed_params=held)
        search = run.search().model_copy(update={"sampler": sampler, "pruner": pruner})
        arm = run_arm(search, file.with_suffix(".log"), Trainer(run))
        write_atomically(file, json.dumps(asdict(arm)).encode())
    return Arm(**json.loads(file.read_text()))


def row(sampler: str, pruner: str, found: Sequence[Arm]) -> str:
    """Return a row of the table: means over seeds, with standard errors."""

    def cell(name: str, digits: int) -> str:
        values = np.array([getattr(arm, name) for arm in found])
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        return f"{values.mean():.{digits}f} ± {error:.{digits}f}"

    scores = " | ".join(cell(name, 3) for name in ("best", "nested", "curve"))
    costs = " | ".join((cell("epochs", 0), cell("minutes", 1), cell("proposal_seconds", 3)))
    return f"| {sampler} | {pruner} | {scores} | {costs} |"


def main() -> None:
    """Run all arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="phantom", metavar="PATH", help="images (default: phantom)")
    parser.add_argument("--seeds", type=int, default=5, help="number of splits and searches (default: 5)")
    parser.add_argument("--trials", type=int, default=24, help="trials of a search (default: 24)")
    parser.add_argument("--frozen", action="store_true", help="train heads only: an hour instead of a day")
    parser.add_argument("--work", type=Path, help="folder of what was trained (default: a temporary one)")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        print("| sampler | pruner | best | nested | curve | epochs | minutes | s a proposal |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for sampler, pruner in arms():
            found = [ran_arm(work, arguments, sampler, pruner, seed) for seed in range(arguments.seeds)]
            print(row(sampler, pruner, found), flush=True)


if __name__ == "__main__":
    main()
