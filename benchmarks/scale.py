"""What many trials on many machines ask of the driver of a search: memory and time; and how full workers are.

    python -m benchmarks.scale driver [--at-once 512] [--trials 10000] [--seconds 120] [--json FILE]
    python -m benchmarks.scale cluster [--nodes 64] [--gpus 8] [--trials 3000] [--seconds 240] [--json FILE]

`cluster` starts Ray's own multi-node test cluster on this machine, with GPUs that are pretended, and runs a
whole search through Tune and our backend. A worker sleeps as long as a trial would train. All workers are
threads of eight processes (`hosted_workers`), and nodes run without Ray's agents: a node takes 10 MB of its
own and 0.2 s to start then, where its agents and eight processes would take 1.4 GB and 45 s of a core.

`driver` needs no Ray and takes any number of workers: trial manager, study, records, TensorBoard and live
view are those of a search, workers are events on a clock that only counts. The driver is one process, so it
deals with one report after another; each takes the processor time that it was measured to take here, and
`--ray-ms` in addition, which is what Tune and Ray took for a report and for a trial in `cluster`. So a driver
that cannot keep up lets its workers wait, as it would.

Trials have a log-normal length around `--seconds`, 30 epochs, and are pruned as in a search.
"""

import argparse
import heapq
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.scale_found import Found, Start, described
from benchmarks.scale_measures import Spans, TimedStudy, below_mib, memory_mib
from benchmarks.scale_worker import EPOCHS, PretendedTrial, Report, Sleeper, write_complete
from orchestrator.callbacks import Callback
from orchestrator.tuning.allocation import report_seconds
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder

_WINDOWS: Final = 10  # parts of a search that are compared
_HOSTS: Final = 8  # processes that keep the workers of `cluster`
_START_SECONDS: Final = 10.0  # until a worker has imported torch
_MB: Final = 2**20


@dataclass
class Course(Callback):
    """A callback that notes time and memory of the driver at the end of each trial.

    Args:
        clock: Function that returns the processor time of the driver in seconds.

    Attributes:
        at: Wall clock in seconds.
        processor: Processor time of the driver in seconds.
        memory: Memory of this process in MiB.
        worked: Seconds that the workers of trials were busy with them.
    """

    clock: Callable[[], float] = time.process_time
    at: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)

    def on_trial_end(self, record: TrialRecord) -> None:
        """Note time and memory."""
        self.at.append(time.perf_counter())
        self.processor.append(self.clock())
        self.memory.append(memory_mib())
        self.worked.append(record.wall_seconds)


@dataclass(slots=True)
class _Worker:
    """A worker of the counting clock: its trial, and the step that it is at."""

    trial: PretendedTrial | None = None
    spec: Any = None
    report: Report | None = None


class Driver:
    """The driver of a search, before workers that are events on a clock that only counts.

    Args:
        run: Folder of the search.
        at_once: Number of workers.
        seconds: Mean length of a trial.
        ray_seconds: What Tune and Ray take for a report, besides what is measured here.
        minutes: Minutes by the wall clock after which no further trial starts; None for no limit.
    """

    def __init__(
        self, run: RunFolder, *, at_once: int, seconds: float, ray_seconds: float, minutes: float | None
    ) -> None:
        self.minutes = minutes
        self.run, self.at_once, self.seconds, self.ray_seconds = run, at_once, seconds, ray_seconds
        self.now = 0.0  # of the driver
        self.spans = Spans()
        self.started_all = self.last_handed = self.worked = 0.0
        self._events: list[tuple[float, int]] = []
        self._workers = [_Worker() for _ in range(at_once)]
        self.manager: TrialManager

    def clock(self) -> float:
        """Return the counting time in seconds."""
        return self.now

    def search(self, manager: TrialManager) -> None:
        """Run a search to its end."""
        self.manager = manager
        ends = math.inf if self.minutes is None else time.monotonic() + 60.0 * self.minutes
        for number in range(self.at_once):
            self._hand_out(number, first=True)
        while self._events:
            manager.is_stopping = time.monotonic() >= ends
            at, number = heapq.heappop(self._events)
            self.now = max(self.now, at)
            self._take_report(number)

    def _timed(self, work: Callable[[], Any]) -> Any:
        begun = time.process_time()
        found = work()
        took = time.process_time() - begun + self.ray_seconds
        self.now, self.worked = self.now + took, self.worked + took
        return found

    def _hand_out(self, number: int, *, first: bool = False) -> None:
        spec = self._timed(self.manager.next)
        if spec is None:
            return
        self.last_handed = self.now
        self._workers[number].spec = spec
        self._workers[number].trial = PretendedTrial(
            spec.number,
            tuple(spec.compared_at),
            mean_seconds=self.seconds,
            report_seconds=max(0.3, report_seconds(self.at_once)),
        )
        start = self.now + (_START_SECONDS if first else 0.0)
        self.started_all = start if first else self.started_all
        self._work(number, start)
        self.manager.on_worker_start(spec.number)

    def _work(self, number: int, start: float) -> None:
        worker = self._workers[number]
        if worker.trial is None:
            raise RuntimeError("a worker without a trial has nothing to do")
        worker.report, seconds = worker.trial.step()
        self.spans.add(start, start + seconds)
        heapq.heappush(self._events, (start + seconds, number))

    def _take_report(self, number: int) -> None:
        worker = self._workers[number]
        report, trial, spec = worker.report, worker.trial, worker.spec
        if report is None or trial is None:
            raise RuntimeError("a worker without a trial has nothing to report")
        if report.is_end:  # the worker writes it, not the driver
            write_complete(self.run, trial.number, spec.config, spec.params, trial.worked)
        if self._timed(lambda: self._follow(trial.number, report)):
            worker.trial = None
            self._hand_out(number)
        else:
            self._work(number, self.now)

    def _follow(self, number: int, report: Report) -> bool:
        """Pass a report to the manager; returns True if the trial has ended."""
        if report.opened is not None:
            self.manager.on_open(number, report.opened, device=report.device)
        for epoch in report.epochs:
            cause = self.manager.on_epoch(
                number,
                epoch.epoch,
                epoch.value,
                epoch.scalars,
                epoch.collapsed,
                epoch.fold_values,
                report.epoch_seconds,
            )
            if cause is not None:
                self.manager.on_stop(number, cause)
                return True
        if report.is_end:
            self.manager.on_end(number)
        return report.is_end


def measure_driver(
    folder: Path,
    *,
    at_once: int,
    trials: int,
    seconds: float,
    ray_ms: float,
    minutes: float | None = None,
) -> Found:
    """Run a search before workers that only count.

    Args:
        folder: Folder for the run.
        at_once: Number of workers.
        trials: Number of trials.
        seconds: Mean length of a trial.
        ray_ms: Milliseconds that Tune and Ray take for a report.
        minutes: Minutes by the wall clock after which no further trial starts; None for no limit.
    """
    from benchmarks.overhead import managed, search_of, watchers

    run, search = RunFolder(folder / "driver"), search_of(trials, epochs=EPOCHS)
    driver = Driver(run, at_once=at_once, seconds=seconds, ray_seconds=ray_ms / 1e3, minutes=minutes)
    course = Course(lambda: driver.worked)
    progress, log = watchers(run, search, workers=at_once)
    manager = managed(run, search, (progress, log, course), clock=driver.clock)
    study = manager.study = TimedStudy(manager.study)
    with progress:
        driver.search(manager)
    return _found(
        "driver",
        run,
        course,
        study,
        driver.spans,
        at_once=at_once,
        span=(0.0, driver.now),
        full=(driver.started_all, driver.last_handed),
        driver_busy=driver.worked / driver.now,
    )


def measure_cluster(
    folder: Path, *, nodes: int, gpus: int, trials: int, seconds: float, minutes: float | None = None
) -> Found:
    """Run a search on Ray's multi-node test cluster, with its workers in a few processes.

    Args:
        folder: Folder for the run.
        nodes: Number of nodes.
        gpus: Number of pretended GPUs of a node; each runs one trial.
        trials: Number of trials.
        seconds: Mean length of a trial.
        minutes: Time limit of the search; None for no limit.
    """
    from benchmarks.fake_cluster import fake_cluster
    from benchmarks.hosted_workers import Hosts, hosted_workers
    from benchmarks.overhead import managed, search_of, watchers
    from orchestrator.tuning.ray_backend import Resources, run_trials

    run, search, course = RunFolder(folder / "cluster"), search_of(trials, epochs=EPOCHS), Course()
    progress, log = watchers(run, search, workers=nodes * gpus)
    manager = managed(run, search, (progress, log, course))
    study = manager.study = TimedStudy(manager.study)
    runner = type("Sleeper", (Sleeper,), {"mean_seconds": seconds, "__module__": Sleeper.__module__})
    begun = time.time()
    with fake_cluster(has_agents=False) as cluster:
        for _ in range(nodes):
            cluster.add(cpus=gpus, gpus=gpus)
        hosts = Hosts(
            [machine.node_id for machine in cluster.machines], workers=gpus, processes=min(nodes, _HOSTS)
        )
        started = Start(time.time() - begun, below_mib(), len(cluster.machines))
        resources = Resources(1.0, 1.0, nodes * gpus, machines=cluster.machines)
        begun, processor = time.time(), time.process_time()
        manager.deadline = None if minutes is None else begun + 60.0 * minutes
        with progress, hosted_workers(hosts):
            run_trials(manager, run, resources, make_runner=runner, ends_process=False)
        ended, processor = time.time(), time.process_time() - processor
        slept, first_steps = hosts.seen()
    spans = Spans()
    for span in slept:
        spans.add(*span)
    begins = [one.finished_at.timestamp() - one.wall_seconds for one in run.records()]
    return _found(
        "cluster",
        run,
        course,
        study,
        spans,
        at_once=nodes * gpus,
        span=(begun, ended),
        full=(max(first_steps), max(begins)),
        driver_busy=processor / (ended - begun),
        start=started,
    )


def _found(  # noqa: PLR0913 - what was noted, and when the search was full
    mode: str,
    run: RunFolder,
    course: Course,
    study: TimedStudy,
    spans: Spans,
    *,
    at_once: int,
    span: tuple[float, float],
    full: tuple[float, float],
    driver_busy: float,
    start: Start | None = None,
) -> Found:
    files = [path for path in run.path.rglob("*") if path.is_file()]
    seconds, trials = span[1] - span[0], len(course.at)
    full_seconds = max(1e-9, full[1] - full[0])
    busy = spans.busy(*full)
    records = run.records()
    ends = [record.finished_at.timestamp() for record in records] if mode == "cluster" else []
    during = sum(full[0] <= end < full[1] for end in ends)
    ended_in_full = during if during else trials * full_seconds / seconds
    return Found(
        mode=mode,
        at_once=at_once,
        trials=trials,
        pruned=sum(record.cause == "pruner" for record in records),
        span_seconds=seconds,
        utilisation=spans.busy(*span) / (at_once * seconds),
        full_utilisation=busy / (at_once * full_seconds),
        lost_seconds=(at_once * full_seconds - busy) / max(1.0, ended_in_full),
        suggestions_a_second=1.0 / statistics.fmean(study.asked),
        trials_a_second=trials / seconds,
        driver_busy=driver_busy,
        processor_ms=[1e3 * (b - a) for a, b in _parts(course.processor)],
        memory_mib=[course.memory[place - 1] for place in _places(trials)],
        run_folder_mb=sum(path.stat().st_size for path in files) / 1e6,
        run_folder_files=len(files),
        start=start,
    )


def _places(trials: int) -> list[int]:
    parts = min(_WINDOWS, trials)
    return [round(trials * part / parts) for part in range(1, parts + 1)]


def _parts(processor: Sequence[float]) -> list[tuple[float, float]]:
    """Processor time for each trial at both ends of ten parts, scaled so that their difference is a mean."""
    found, begin = [], 0
    for place in _places(len(processor)):
        count = max(1, place - 1 - begin)
        found.append((processor[begin] / count, processor[place - 1] / count))
        begin = place - 1
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mode", choices=("driver", "cluster"))
    parser.add_argument("--at-once", type=int, default=512, help="workers, of `driver`")
    parser.add_argument("--nodes", type=int, default=64, help="of `cluster`")
    parser.add_argument("--gpus", type=int, default=8, help="of a node, of `cluster`")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120.0, help="mean length of a trial")
    parser.add_argument("--ray-ms", type=float, default=5.0, help="of Tune and Ray for a report, of `driver`")
    parser.add_argument("--minutes", type=float, help="after which no further trial starts")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if asked.mode == "driver":
            found = measure_driver(
                Path(name),
                at_once=asked.at_once,
                trials=asked.trials,
                seconds=asked.seconds,
                ray_ms=asked.ray_ms,
                minutes=asked.minutes,
            )
        else:
            found = measure_cluster(
                Path(name),
                nodes=asked.nodes,
                gpus=asked.gpus,
                trials=asked.trials,
                seconds=asked.seconds,
                minutes=asked.minutes,
            )
    for line in described(found):
        print(line)
    if asked.json:
        asked.json.write_text(json.dumps(asdict(found), indent=1) + "\n")


if __name__ == "__main__":
    main()
