"""`wandb`: Weights & Biases; `WANDB_MODE=offline` keeps everything below the run folder."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from orchestrator.reporting.tracker import Scalars, TrackedSearch, Tracker, plain_settings, set_limits
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder

# It sends its errors to its makers, unless it is told not to before it is imported.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

# Seconds; its own limits are 90 for the start of a run, and none for its end. What is not sent in time lies
# below the run folder, and `wandb sync` sends it. Versions that do not know a limit take no notice of it.
_LIMITS: Final = MappingProxyType(
    {"WANDB_INIT_TIMEOUT": "30", "WANDB_FINISH_TIMEOUT": "60", "WANDB_FINISH_TIMEOUT_RAISES": "true"}
)

_ID_LETTERS: Final = 20  # of the identity of a run, which is unique in its project


class _WandbSearch(TrackedSearch):
    def __init__(self, run: RunFolder, record: SearchRecord) -> None:
        self._run, self._record = run, record

    def log_trial(self, record: TrialRecord, curves: Mapping[int, Scalars], scores: Scalars) -> None:
        with self._opened(f"trial-{record.number:04d}", "trial", plain_settings(record)) as log:
            for epoch, scalars in sorted(curves.items()):
                log.log(dict(scalars), step=epoch)
            log.summary.update({f"final/{name}": value for name, value in scores.items()})
            if record.state == "failed":
                log.summary["error"] = (record.error or "").splitlines()[:1]

    def end(self, scores: Scalars, files: list[Path], *, is_interrupted: bool) -> None:
        record = self._record
        facts = {
            "metrics": list(record.metrics),
            "sampler": record.sampler,
            "pruner": record.pruner,
            "folds": record.folds,
            "seed": record.request.seed,
            "data": record.source,
            "fingerprint": record.fingerprint,
            "split": record.split_name,
            "is_synthetic": record.is_synthetic,
            "command": record.command,
        }
        with self._opened("search", "search", facts) as log:
            log.summary.update({f"best/{name}": value for name, value in scores.items()})
            log.summary["is_interrupted"] = is_interrupted
            for path in files:
                log.save(str(path), base_path=str(self._run.path), policy="now")

    def _opened(self, name: str, kind: str, config: Mapping[str, Any]) -> Any:
        set_limits(_LIMITS)
        import wandb

        record = self._record
        # A run of the same identity takes the place of the one before, as that of a trial that is run again.
        own = f"{self._run.path.resolve()}\n{record.started_at.isoformat()}\n{name}"
        return wandb.init(
            id=hashlib.sha256(own.encode()).hexdigest()[:_ID_LETTERS],
            project=f"orchestrate-{record.task}".replace("/", "-"),
            group=record.name,
            name=f"{record.name}/{name}",
            job_type=kind,
            config=dict(config),
            dir=str(self._run.path),
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )


WANDB = Tracker("wandb", "wandb", "wandb", _WandbSearch)
