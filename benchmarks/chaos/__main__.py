"""Faults of all kinds in searches, and what was lost by them.

    python -m benchmarks.chaos [--seed 0] [--only NAME ...] [--share 1] [--lanes 2] [--json FILE]
        [--minutes 15] [--markdown FILE] [--keep FOLDER]

Searches of one worker on small data run as processes of their own, from the command line. Faults are injected
at moments drawn from the seed; after each the search goes on or is resumed, and then it is looked through:
every record can be parsed, no finished trial or fold is lost, changed or run again, study and folder have the
same trials, and the leaderboard is that of a search which nobody disturbed. Exit code 1 if anything is wrong,
or if a fault was injected less often than was asked for.

Every kind of fault has its turn first, then the kinds of which there are many go on. Two minutes before the
time is up no further fault is injected: searches that were hit are resumed and looked through, and what was
not reached is named. What a machine lacks, such as PostgreSQL, a C compiler or the
right to mount a small disk, is named, too. `--only` and `--share` ask for less.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import PATIENCE, TASK, UNDISTURBED, Arena
from benchmarks.chaos.ledger import Outcome, are_good, as_json, as_markdown, together
from benchmarks.chaos.plan import (
    FOLD_TRIALS,
    SCENARIOS,
    TRIALS,
    UNDISTURBED_FOLDS,
    Turn,
    completed,
    turns_of,
)

MINUTES: Final = 15.0  # on two cores
LANES: Final = 2  # of scenarios that compute; those that mostly wait have one more
_LAST_MINUTES: Final = 2.0  # of them, in which nothing is injected any more


def main() -> int:
    """Run the scenarios, print and write what they found; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of every moment and choice (default: 0)")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--share", type=float, default=1.0, help="share of the kills, in (0, 1] (default: 1)")
    parser.add_argument(
        "--lanes",
        type=int,
        default=LANES,
        help=f"scenarios at once, and those that mostly wait one by one beside them (default: {LANES})",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help=f"for one search to end; more on a busy machine (default: {PATIENCE:.0f})",
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"of the whole (default: {MINUTES:.0f})"
    )
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    parser.add_argument("--keep", type=Path, help="folder to work in and to keep (default: a temporary one)")
    arguments = parser.parse_args()
    folder, started = arguments.keep or Path(tempfile.mkdtemp(prefix="chaos-")), time.monotonic()
    names = arguments.only or list(SCENARIOS)
    try:
        outcomes = _run(
            folder.resolve(),
            names,
            arguments.seed,
            share=arguments.share,
            lanes=arguments.lanes,
            patience=arguments.patience,
            until=started + 60 * (arguments.minutes - _LAST_MINUTES),
        )
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    minutes = (time.monotonic() - started) / 60
    facts = {"seed": arguments.seed, "minutes": round(minutes, 1), "cores": os.cpu_count()}
    print(f"\n{as_markdown(outcomes)}\n\nseed {arguments.seed}, {minutes:.1f} min, {os.cpu_count()} cores")
    if arguments.json:
        found = as_json(outcomes, **facts, python=platform.python_version())
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(as_markdown(outcomes) + "\n")
    return 0 if are_good(outcomes) else 1


def _run(
    folder: Path, names: Sequence[str], seed: int, *, share: float, lanes: int, patience: float, until: float
) -> list[Outcome]:
    _run_undisturbed(Arena(folder, seed, patience=patience, until=until), folds_too="folds" in names)
    turns, found = turns_of(names, share), dict[str, list[Outcome]]()
    queues = [[turn for turn in turns if SCENARIOS[turn.name].waits is waits] for waits in (False, True)]
    lock = threading.Lock()

    def work(queue: list[Turn]) -> None:
        while True:
            with lock:
                if not queue:
                    return
                turn = queue.pop(0)
            if time.monotonic() >= until:
                found[turn.place] = completed([], turn.asked, "the time was up")
                continue
            found[turn.place] = _scenario(turn, folder, seed, patience=patience, until=until)

    threads = [threading.Thread(target=work, args=(queues[0],)) for _ in range(min(lanes, len(queues[0])))]
    threads += [threading.Thread(target=work, args=(queues[1],))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows: dict[str, list[Outcome]] = {}
    for turn in turns:
        for own in found.get(turn.place) or completed([], turn.asked, "its lane died"):
            rows.setdefault(own.fault, []).append(own)
    return [together(parts) for parts in rows.values()]


def _run_undisturbed(arena: Arena, *, folds_too: bool) -> None:
    """Run the searches that the others are compared with, at the same time; what an earlier call kept stays.

    Raises:
        RuntimeError: If one does not end well, or the checks find something in it.
    """
    wanted: dict[str, tuple[int, tuple[str, ...]]] = {UNDISTURBED: (TRIALS, ())}
    if folds_too:
        wanted[UNDISTURBED_FOLDS] = (FOLD_TRIALS, ("--process-per-fold",))
    begun = {
        name: arena.search(name, trials, *options)
        for name, (trials, options) in wanted.items()
        if len(arena.run(name).records()) != trials
    }
    for name, driver in begun.items():
        if driver.wait(2 * arena.patience) != 0:
            raise RuntimeError(f"the search {name} did not end well: {driver.printed[-500:]}")
        print(f"{name}: {wanted[name][0]} trials in {time.monotonic() - driver.begun:.0f} s", flush=True)
    for name, (trials, _) in wanted.items():
        verdict = arena.judged(name, [], trials=trials, reference=None)
        if wrong := [*verdict.lost, *verdict.repeated, *verdict.faults]:
            raise RuntimeError(f"the checks find something in {name}, which nobody disturbed: {wrong[:3]}")


def _scenario(turn: Turn, folder: Path, seed: int, *, patience: float, until: float) -> list[Outcome]:
    """Run a portion of a scenario in an arena of its own over the same store, and say what it found."""
    number = 100 * turn.portion + list(SCENARIOS).index(turn.name)
    arena = Arena(folder / turn.place, 1000 * seed + number, patience=patience, until=until)
    shared = folder / "runs"
    (arena.runs / TASK).mkdir(parents=True, exist_ok=True)
    for place in (*((shared / TASK).glob(f"{UNDISTURBED}*")), shared / ".store"):
        copy = arena.runs / place.relative_to(shared)
        if not copy.exists():
            shutil.copytree(place, copy)
    try:
        outcomes = SCENARIOS[turn.name].outcomes(arena, turn.asked)
    except Exception as error:  # a fault of this program must not hide what the others find
        traceback.print_exc()
        outcomes = completed([], turn.asked, f"the scenario itself failed: {error!r}"[:300])
    finally:
        arena.end()
    for own in outcomes:
        mark = "ok " if own.is_good else "BAD"
        print(
            f"{mark} {own.fault}: {own.injected} injected, {own.survived} survived, {own.lost} lost, "
            f"{own.repeated} repeated, {own.seconds:.0f} s  {own.remark}",
            flush=True,
        )
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
