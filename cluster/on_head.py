"""What is asked of Ray on the head of a cluster: `python -m cluster.on_head VERB`, which prints JSON.

It runs over there, reached by SSH, because Ray's job server listens on the loopback address of the head alone
and asks for a token, which stays there.
"""

import argparse
import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cluster.connect import QUIET_ENVIRONMENT, connect, disconnect
from cluster.errors import ClusterError
from cluster.own_ray import token_file
from cluster.target import recorded_address
from cluster.verbs import MODULE, STOP_SECONDS
from trainables.common.errors import OrchestrateError

# A cluster that has just started takes jobs some seconds later.
_NOT_READY: Final = "try again later"
_READY_SECONDS: Final = 90.0
_RETRY_SECONDS: Final = 2.0
_LAST_CHARACTERS: Final = 4_000  # of the output of a job that has been running for long
_ENDED: Final = ("SUCCEEDED", "FAILED", "STOPPED")


def nodes() -> dict[str, Any]:
    """Return the machines of the cluster that runs here, and what is free on all of them together.

    Raises:
        ClusterError: If none runs here.
    """
    connection = connect("auto")
    try:
        import ray

        found = [
            {
                "address": node["NodeManagerAddress"],
                "is_alive": node["Alive"],
                "cpus": node["Resources"].get("CPU", 0.0),
                "gpus": node["Resources"].get("GPU", 0.0),
                "memory_bytes": int(node["Resources"].get("memory", 0)),
            }
            for node in ray.nodes()
        ]
        free = ray.available_resources()
    finally:
        disconnect(connection)
    return {
        "address": connection.address,
        "nodes": found,
        "free_cpus": free.get("CPU", 0.0),
        "free_gpus": free.get("GPU", 0.0),
    }


def jobs() -> list[dict[str, Any]]:
    """Return what was submitted to the cluster that runs here, the latest first; empty without a cluster.

    Raises:
        ClusterError: If the cluster that runs here does not answer.
    """
    if recorded_address() is None:
        return []
    found = [
        {
            "id": job.submission_id,
            "status": str(job.status.value),
            "exit_code": job.driver_exit_code,
            "message": (job.message or "").strip().splitlines()[-1:] or [""],
            "started": (job.start_time or 0) / 1000,
            "ended": None if not job.end_time else job.end_time / 1000,
            "metadata": dict(job.metadata or {}),
        }
        for job in _client().list_jobs()
        if job.submission_id
    ]
    for job in found:
        job["message"] = job["message"][0]
    return sorted(found, key=lambda job: -float(job["started"]))


def submit(words: Sequence[str], *, folder: str, identity: str, metadata: Mapping[str, str]) -> str:
    """Start a command of orchestrate as a job of Ray; returns its id.

    Args:
        words: Verb and options.
        folder: Folder that it runs in; `~` is this user's home.
        identity: Id of the job, which no other job of this cluster has had.
        metadata: What is kept with it.

    Raises:
        ClusterError: If no cluster with a job server runs here, or it refuses.
    """
    program = [sys.executable, *MODULE.split(), *words]
    # Ray gives a job a single thread; what trials get is up to the workers.
    place = shlex.quote(str(Path(folder).expanduser()))
    entrypoint = f"cd {place} && unset OMP_NUM_THREADS && exec {shlex.join(program)}"
    client = _client()
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            return str(
                client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=identity,
                    metadata=dict(metadata),
                    # Ray ends a stopped job with SIGKILL after three seconds, unless it is told otherwise.
                    runtime_env={"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}},
                )
            )
        except Exception as error:
            if _NOT_READY not in str(error) or time.monotonic() > deadline:
                reason = _last_line(error)
                raise ClusterError(f"the job server of this cluster refused: {reason}") from error
        time.sleep(_RETRY_SECONDS)


def stop(identity: str) -> None:
    """End a job as SIGTERM does; returns before it has ended.

    Raises:
        ClusterError: If there is no such job.
    """
    try:
        _client().stop_job(identity)
    except RuntimeError as error:
        raise ClusterError(f"job {identity} cannot be stopped: {_last_line(error)}") from error


def follow(identity: str) -> Iterator[str]:
    """Yield the output of a job, the end of what there is first, until the job ends.

    Raises:
        ClusterError: If there is no such job.
    """
    client = _client()
    try:
        # In this order: what a job says after the question how it is, is in what is asked for then.
        has_ended = str(client.get_job_status(identity).value) in _ENDED
        said = client.get_job_logs(identity)
    except RuntimeError as error:
        raise ClusterError(f"job {identity} has no output: {_last_line(error)}") from error
    yield said[-_LAST_CHARACTERS:].partition("\n")[2] if len(said) > _LAST_CHARACTERS else said
    if has_ended:
        return
    seen, passed = len(said), 0
    loop = asyncio.new_event_loop()
    try:
        lines = client.tail_job_logs(identity).__aiter__()
        while True:
            try:
                text = loop.run_until_complete(lines.__anext__())
            except StopAsyncIteration:
                return
            new = text[max(seen - passed, 0) :] if passed < seen else text
            passed += len(text)
            if new:
                yield new
    finally:
        loop.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer one question; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cluster.on_head", description=__doc__)
    parser.add_argument("verb", choices=("nodes", "jobs", "submit", "follow", "stop"))
    parser.add_argument("job", nargs="?", default="")
    given = parser.parse_args(arguments)
    try:
        if given.verb == "follow":
            for text in follow(given.job):
                sys.stdout.write(text)
                sys.stdout.flush()
        elif given.verb == "submit":
            asked = json.load(sys.stdin)
            print(json.dumps({"id": submit(asked.pop("words"), **asked)}))
        elif given.verb == "stop":
            stop(given.job)
        else:
            print(json.dumps(nodes() if given.verb == "nodes" else jobs()))
    except OrchestrateError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _client() -> Any:
    """The client of the job server of the cluster that this user runs here."""
    address = recorded_address()
    if address is None:
        raise ClusterError("no cluster of yours runs here; start it: orchestrate cluster up FILE")
    path = token_file()
    if path is not None and path.is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # They would win over the address, whose note was found to be this user's.
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        os.environ.pop(name, None)
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except Exception as error:
        raise ClusterError(
            f"the cluster at {address} has no job server that answers ({_last_line(error)}); it is part of "
            "the dashboard: start the head with --include-dashboard=true, as cluster/dgx.yaml does"
        ) from error


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip().rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
