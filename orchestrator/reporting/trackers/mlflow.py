"""`mlflow`: MLflow, on the server of MLFLOW_TRACKING_URI, else in the folder `mlflow/` of all runs."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from orchestrator.reporting.tracker import Scalars, TrackedSearch, Tracker, plain_settings, set_limits
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder

# MLflow tells its makers how it is used, unless it is told not to before it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

_RUN: Final = "orchestrate.run"  # tag that ties a run of MLflow to the run folder,
_STARTED: Final = "orchestrate.started"  # and to the search there: another one may have the folder later
_REPLACED_BY: Final = "orchestrate.replaced_by"  # of a trial that was run again: the run of its last one
_PARENT, _NAME = "mlflow.parentRunId", "mlflow.runName"
_LONGEST: Final = 500  # letters of a parameter that every server takes
# A call to a server that is gone fails after two minutes; MLflow's own limits let it take up to 16.
_LIMITS: Final = MappingProxyType(
    {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
)


class _MlflowSearch(TrackedSearch):
    def __init__(self, client: Any, experiment: str, parent: str, name: str) -> None:
        self._client, self._experiment, self._parent, self._name = client, experiment, parent, name

    def _mark_earlier(self, name: str, run: str) -> None:
        """Say of earlier runs of a trial, under its name, that another one has replaced them.

        What was logged of them stays: MLflow takes no other value of a parameter.
        """
        for one in self._client.search_runs(
            [self._experiment],
            filter_string=f"tags.`{_PARENT}` = '{self._parent}' and tags.`{_NAME}` = '{_plain(name)}'",
        ):
            earlier = str(one.info.run_id)
            if earlier != run:
                self._client.set_tag(earlier, _NAME, f"{name} (run again)")
                self._client.set_tag(earlier, _REPLACED_BY, run)

    def log_trial(self, record: TrialRecord, curves: Mapping[int, Scalars], scores: Scalars) -> None:
        from mlflow.entities import Metric, Param

        name = f"{self._name}/trial-{record.number:04d}"
        tags = {_PARENT: self._parent, _NAME: name}
        run = str(self._client.create_run(self._experiment, tags=tags).info.run_id)
        self._mark_earlier(name, run)
        ended = int(record.finished_at.timestamp() * 1000)
        metrics = [
            Metric(name.replace("@", "-"), value, ended, epoch)
            for epoch, scalars in curves.items()
            for name, value in scalars.items()
        ]
        metrics += [
            Metric(f"final/{name.replace('@', '-')}", value, ended, 0) for name, value in scores.items()
        ]
        params = [Param(name, value[:_LONGEST]) for name, value in plain_settings(record).items()]
        for start in range(0, max(len(metrics), len(params)), 100):  # a server takes 100 parameters at once
            part = slice(start, start + 100)
            self._client.log_batch(run, metrics=metrics[part], params=params[part])
        status = "FAILED" if record.state == "failed" else "FINISHED"
        self._client.set_terminated(run, status=status, end_time=ended)

    def end(self, scores: Scalars, files: list[Path], *, is_interrupted: bool) -> None:
        for name, value in scores.items():
            self._client.log_metric(self._parent, f"best/{name.replace('@', '-')}", value)
        for path in files:
            folder = "ensembles" if path.parent.name == "ensembles" else None
            self._client.log_artifact(self._parent, str(path), folder)
        self._client.set_terminated(self._parent, status="KILLED" if is_interrupted else "FINISHED")


def _open(run: RunFolder, record: SearchRecord) -> TrackedSearch:
    set_limits(_LIMITS)
    from mlflow.tracking import MlflowClient

    place = os.environ.get("MLFLOW_TRACKING_URI")
    if not place:
        # MLflow keeps its store of plain files for those who ask for it by name.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        place = (run.path.parents[1] / "mlflow").resolve().as_uri()
    client = MlflowClient(tracking_uri=place)
    known = client.get_experiment_by_name(record.task)
    experiment = known.experiment_id if known is not None else client.create_experiment(record.task)
    earlier = _earlier(client, experiment, run, record)
    if earlier is not None:
        client.update_run(earlier, status="RUNNING")
        return _MlflowSearch(client, experiment, earlier, record.name)
    tags = {
        _RUN: _quoted(run),
        _STARTED: record.started_at.isoformat(),
        _NAME: record.name,
        "mlflow.source.name": record.command or "orchestrator",
        "data": record.source,
        "fingerprint": record.fingerprint,
        "split": record.split_name,
        "is_synthetic": str(record.is_synthetic),
    }
    parent = client.create_run(experiment, tags=tags).info.run_id
    options = {"metrics": ", ".join(record.metrics), "sampler": record.sampler, "pruner": record.pruner}
    for name, value in {**options, "folds": record.folds, "seed": record.request.seed}.items():
        client.log_param(parent, name, value)
    return _MlflowSearch(client, experiment, parent, record.name)


def _earlier(client: Any, experiment: str, run: RunFolder, record: SearchRecord) -> str | None:
    """Id of the run of MLflow that an earlier session of this search has made; None without one."""
    for one in client.search_runs([experiment], filter_string=f"tags.`{_RUN}` = '{_quoted(run)}'"):
        started = one.data.tags.get(_STARTED)
        # One of an earlier version has no such tag, but it was made after its search had begun.
        is_untold = started is None and one.info.start_time >= int(record.started_at.timestamp() * 1000)
        if started == record.started_at.isoformat() or is_untold:
            return str(one.info.run_id)
    return None


def _quoted(run: RunFolder) -> str:
    return _plain(str(run.path.resolve()))


def _plain(text: str) -> str:
    """A text as a filter of MLflow can hold it."""
    return text.replace("'", "_")


MLFLOW = Tracker("mlflow", "mlflow", "mlflow", _open)
