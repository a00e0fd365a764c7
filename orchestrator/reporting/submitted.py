"""Jobs of Ray that were submitted: which one a text names, and which one runs the search of a folder.

Runs of several tasks may have one name, so a job belongs to a run by both. A job whose command line does not
say its task, such as that of `resume first`, is a job of any run of that name, as long as there is only one.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cluster.verbs import SEARCHES
from results.errors import RunError
from trainables.common.errors import ConfigError, UnknownNameError

RUNNING: Final = ("PENDING", "RUNNING")  # states of a job that has not ended


def name_of(job: Mapping[str, Any]) -> str:
    """Return the name of the run that a job is about; its id where it says none."""
    return str(job["metadata"].get("name") or job["id"])


def task_of(job: Mapping[str, Any]) -> str:
    """Return the task of that run; empty where the command line did not say it."""
    return str(job["metadata"].get("task") or "")


def verb_of(job: Mapping[str, Any]) -> str:
    """Return the verb that a job runs."""
    return str(job["metadata"].get("verb") or "search")


def job_named(text: str, jobs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the job that is meant: the latest of a run that has several.

    Args:
        text: Its id, the name of its run, TASK/NAME, or `latest`.
        jobs: All jobs, as `cluster.on_head.jobs` returns them, the latest first.

    Raises:
        UnknownNameError: If there is none; the message names the nearest.
        RunError: If runs of several tasks have the bare name.
        ConfigError: If nothing was submitted.
    """
    if not jobs:
        raise ConfigError("nothing was submitted to this cluster since it was started")
    if text == "latest":
        return jobs[0]
    for job in jobs:
        if job["id"] == text:
            return job
    task, _, name = text.rpartition("/")
    found = jobs_of(task, name, jobs) if task else [job for job in jobs if name_of(job) == name]
    tasks = sorted({task_of(job) for job in found} - {""})
    if not task and len(tasks) > 1:
        known = ", ".join(f"{one}/{name}" for one in tasks)
        raise RunError(f"{text!r} names several runs: {known}; name one by TASK/NAME")
    if not found:
        raise UnknownNameError("job", text, set(map(name_of, jobs)))
    return found[0]


def jobs_of(
    task: str, name: str, jobs: Sequence[Mapping[str, Any]], *, tasks: Collection[str] = ()
) -> list[Mapping[str, Any]]:
    """Return the jobs of one run, the latest first.

    Args:
        task: Task of the run.
        name: Name of the run.
        jobs: All jobs, the latest first.
        tasks: Tasks that have a run of this name, besides those that jobs say.
    """
    named = [job for job in jobs if name_of(job) == name]
    others = {*tasks, *map(task_of, named)} - {"", task}
    return [job for job in named if task_of(job) == task or not (task_of(job) or others)]


def job_of_run(
    folder: Path, jobs: Sequence[Mapping[str, Any]], *, started: float = math.inf
) -> Mapping[str, Any] | None:
    """Return the job that runs the search of a folder, else the latest that did; None without one.

    A job whose command line says no task, as with a file of a task, may be the search of another task. If it
    has started after this one, it is.

    Args:
        folder: The run folder.
        jobs: All jobs, the latest first.
        started: When the search of the folder has started, in seconds since 1970; infinite if not known.
    """
    found = [
        job
        for job in _jobs_of_folder(folder, jobs)
        if verb_of(job) in SEARCHES and not (is_of_any_task(job) and float(job["started"]) > started)
    ]
    return next((job for job in found if job["status"] in RUNNING), found[0] if found else None)


def other_job_of_run(folder: Path, jobs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the running job of another verb about a run; None without one.

    Args:
        folder: The run folder.
        jobs: All jobs, the latest first.
    """
    others = (job for job in _jobs_of_folder(folder, jobs) if verb_of(job) not in SEARCHES)
    return next((job for job in others if job["status"] in RUNNING), None)


def is_of_any_task(job: Mapping[str, Any]) -> bool:
    """Tell whether a job begins a search, and does not say of which task."""
    return verb_of(job) == "search" and not task_of(job)


def _jobs_of_folder(folder: Path, jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    tasks = {path.parents[1].name for path in folder.parents[1].glob(f"*/{folder.name}/search.yaml")}
    return jobs_of(folder.parent.name, folder.name, jobs, tasks=tasks)
