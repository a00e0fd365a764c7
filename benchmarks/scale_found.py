"""What the scale benchmark has found, and how it is said."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Start:
    """What a cluster took before the search.

    Attributes:
        seconds: Time until all nodes and their processes had started.
        memory_mib: Memory of all of them, in MiB.
        nodes: Number of nodes that Ray names, without its head.
    """

    seconds: float
    memory_mib: float
    nodes: int


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured.

    Attributes:
        mode: `driver` or `cluster`.
        at_once: Number of trials at once.
        trials: Number of trials that ended.
        pruned: Number of them that the pruner stopped.
        span_seconds: Time from the first trial to the end of the last; of the counting clock in `driver`.
        utilisation: Share of the time of all workers in [0, 1] in which a trial trained.
        full_utilisation: The same between the moment when all workers have started and the moment when no
            further trial was left to hand out.
        lost_seconds: Time of workers without work, for each trial, in that span.
        suggestions_a_second: Proposals that the sampler makes in a second of processor time.
        trials_a_second: Trials that ended, over the span.
        driver_busy: Share of the span in [0, 1] in which the driver worked.
        processor_ms: Processor time of the driver for each trial, in ten parts of the search.
        memory_mib: Memory of the driver at the end of each of those parts.
        run_folder_mb: Size of the run folder.
        run_folder_files: Number of its files.
        start: What the cluster took before; None in `driver`.
    """

    mode: str
    at_once: int
    trials: int
    pruned: int
    span_seconds: float
    utilisation: float
    full_utilisation: float
    lost_seconds: float
    suggestions_a_second: float
    trials_a_second: float
    driver_busy: float
    processor_ms: list[float]
    memory_mib: list[float]
    run_folder_mb: float
    run_folder_files: int
    start: Start | None = None


def described(found: Found) -> list[str]:
    """Return what was measured, in lines."""
    before = []
    if (start := found.start) is not None:
        before = [f"{start.nodes} nodes up after {start.seconds:.0f} s, with {start.memory_mib:,.0f} MiB"]
    return [
        *before,
        f"{found.mode}: {found.trials} trials ({found.pruned} pruned), {found.at_once} at once, "
        f"{found.span_seconds:,.0f} s",
        f"utilisation {found.utilisation:.1%}, between the start of the last worker and the last trial "
        f"handed out {found.full_utilisation:.1%}; {found.lost_seconds:.2f} s of a worker lost a trial",
        f"{found.suggestions_a_second:.1f} suggestions a second of processor time; "
        f"{found.trials_a_second:.2f} trials a second; the driver was busy {found.driver_busy:.0%}",
        "processor ms of the driver for each trial, in tenths of the search: "
        + " ".join(f"{value:.0f}" for value in found.processor_ms),
        "MiB of the driver, at the ends of the tenths: "
        + " ".join(f"{value:.0f}" for value in found.memory_mib),
        f"run folder {found.run_folder_mb:.1f} MB in {found.run_folder_files:,} files",
    ]
