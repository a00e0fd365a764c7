"""The end of a search by its terminator, as the trial manager brings it about."""

from collections.abc import Callable, Sequence
from pathlib import Path

from list_study import Clock, ListStudy, complete, spec

from orchestrator.study.terminator import FEWEST_TRIALS
from orchestrator.study.trial_spec import InvalidPointError
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder

Lead = Callable[..., TrialManager]


def terminating(folder: Path, search: SearchRecord, study: ListStudy, said: list[str]) -> TrialManager:
    search = search.with_options(terminator=True).model_copy(update={"fingerprint": "f", "folds": 4})
    return TrialManager(RunFolder(folder), search, study, (), deadline=None, clock=Clock(), say=said.append)


def end_alike(lead: TrialManager, numbers: Sequence[int]) -> None:
    folds = tuple({"auc": value} for value in (0.7, 0.9, 0.7, 0.9))
    for number in numbers:
        written = {"fold_metrics": folds, "recipe": lead.running[number].spec.recipe}  # as workers write it
        lead.run.write_record(complete(number, 0.8).model_copy(update=written))
        lead.on_end(number)


def test_the_terminator_starts_nothing_more_and_what_runs_still_ends(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    said: list[str] = []
    lead = terminating(tmp_path, make_search(), ListStudy(*map(spec, range(40))), said)
    for _ in range(FEWEST_TRIALS + 1):
        lead.next()
    end_alike(lead, range(FEWEST_TRIALS))
    assert lead.terminated is not None
    assert said == [f"no further trial starts after {FEWEST_TRIALS}: {lead.terminated.message}"]
    assert (lead.next(), lead.is_over) == (None, False)
    end_alike(lead, [FEWEST_TRIALS])
    assert lead.is_over


def test_no_trial_starts_after_the_end_where_the_last_interrupted_one_cannot_run(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    last = FEWEST_TRIALS
    study = ListStudy(*map(spec, range(last)), *map(spec, range(last + 1, 40)))
    lead = terminating(tmp_path, make_search(), study, [])
    for _ in range(last):
        lead.next()
    study.interrupted = [InvalidPointError(last, {}, "no such cut")]
    end_alike(lead, range(last))
    assert lead.terminated is not None
    assert (lead.next(), lead.is_over) == (None, True)
    assert [record.state for record in study.told if record.number == last] == ["failed"]


def test_the_terminator_waits_for_the_initial_points(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    study = ListStudy(spec(0, "first"), *map(spec, range(1, 40)))
    lead = terminating(tmp_path, make_search(), study, [])
    for _ in range(30):
        lead.next()
    end_alike(lead, range(1, 25))
    assert lead.terminated is None
    end_alike(lead, [0])
    assert lead.terminated is None
    end_alike(lead, [25])
    assert lead.terminated is not None


def test_the_terminator_waits_for_initial_points_that_nobody_has_begun(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    study = ListStudy(*map(spec, range(FEWEST_TRIALS)), spec(FEWEST_TRIALS, "first"))
    lead = terminating(tmp_path, make_search(), study, [])
    for _ in range(FEWEST_TRIALS):
        lead.next()
    end_alike(lead, range(FEWEST_TRIALS))
    assert lead.terminated is None
    assert lead.next() is not None
    end_alike(lead, [FEWEST_TRIALS])
    assert lead.terminated is None  # it has just ended; the next verdict knows it


def test_a_terminator_that_can_do_nothing_says_why(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    said: list[str] = []
    terminating(tmp_path, make_search(metrics=("auc", "f1")), ListStudy(spec(0)), said)
    assert said == [
        "--terminator does nothing for this search: it optimises 2 metrics, and a front of trials has no "
        "single gain"
    ]


def interrupted(
    folder: Path, search: SearchRecord, study: ListStudy, said: list[str], *, first: Sequence[int] = ()
) -> TrialManager:
    """A search that was killed when its records left little to gain, some of them of points to try first."""
    before = terminating(folder, search, ListStudy(*map(spec, range(FEWEST_TRIALS))), [])
    for _ in range(FEWEST_TRIALS):
        before.next()
    for number in range(FEWEST_TRIALS):
        before.running[number].spec = spec(number, "first" if number in first else "")
    end_alike(before, range(FEWEST_TRIALS))
    lead = terminating(folder, search, study, said)
    lead.on_search_start()
    return lead


def test_a_search_that_goes_on_starts_no_new_trial_where_its_records_leave_little_to_gain(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    said: list[str] = []
    lead = interrupted(tmp_path, make_search(), ListStudy(spec(40)), said)
    assert lead.terminated is not None
    assert said == [f"no further trial starts after {FEWEST_TRIALS}: {lead.terminated.message}"]
    assert lead.is_over
    assert lead.next() is None


def test_trials_that_were_running_are_run_again_although_no_further_one_starts(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    study = ListStudy(spec(40), interrupted=[spec(30), spec(31)])
    lead = interrupted(tmp_path, make_search(), study, [])
    assert lead.terminated is not None
    again = [lead.next(), lead.next()]
    assert [own.number for own in again if own is not None] == [30, 31]
    assert (lead.next(), lead.is_over) == (None, False)
    end_alike(lead, [30, 31])
    assert lead.is_over


def test_a_point_to_try_first_that_is_run_again_is_waited_for(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    study = ListStudy(*map(spec, range(40, 45)), interrupted=[spec(30, "first")])
    lead = interrupted(tmp_path, make_search(), study, [])
    assert lead.terminated is None
    for _ in range(2):
        lead.next()
    end_alike(lead, [30, 40])
    assert lead.terminated is not None


def test_a_point_that_cannot_run_is_followed_by_no_trial_where_nothing_is_to_gain(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    study = ListStudy(InvalidPointError(40, {}, "no such cut"), spec(41))
    # The last record is that of a point to try first, after which nothing is decided yet.
    lead = interrupted(tmp_path, make_search(), study, [], first=[FEWEST_TRIALS - 1])
    assert lead.terminated is None
    assert lead.next() is None
    assert lead.terminated is not None
    assert lead.is_over
