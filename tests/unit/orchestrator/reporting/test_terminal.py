"""The live view fits 80 columns, promises nothing it does not know, and is plain text outside a terminal."""

import datetime
import io

import pytest
from rich.console import Console

from orchestrator.reporting.closing_summary import closing_summary
from orchestrator.reporting.terminal import SearchProgress, fitted
from orchestrator.reporting.time_left import busy_seconds, seconds_left
from orchestrator.reporting.worker_time import WorkerTime, shares_text
from results.run.records import TrialRecord
from trainables.common.text import clock_text
from trainables.features.feature_use import FeatureUse

LONG_TEXT = "efficientnet_lite0 top+2 train 3 adadelta 0.00042 with a text that no row of the panel holds"


class FakeClock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def make_progress(*, is_terminal=False, trials=10, **settings):
    console = Console(
        file=io.StringIO(),
        width=80,
        height=24,
        force_terminal=is_terminal,
        color_system=None,
        legacy_windows=False,
        _environ={"TERM": "xterm"},
    )
    clock = FakeClock()
    known = {"task": "benign_malignant", "name": "baseline", "data": "phantom", "minutes": None, "workers": 2}
    progress = SearchProgress(
        **{**known, "is_synthetic": True, **settings}, trials=trials, console=console, clock=clock
    )
    return progress, clock


def printed(progress):
    return progress.console.file.getvalue()


def panel(progress):
    """The panel as it would stand on the terminal now."""
    canvas = Console(file=io.StringIO(), width=80, color_system=None, force_terminal=True, _environ={})
    canvas.print(progress._panel())
    return canvas.file.getvalue().splitlines()


def record(number=0, state="complete", cause=None, *, value=None, ended=0.0, wall_seconds=0.0):
    begin = datetime.datetime(2025, 1, 1, 10, 0, tzinfo=datetime.UTC)
    return TrialRecord(
        number=number,
        state=state,
        cause=cause,
        config={"model.backbone": "vgg16"},
        value=value,
        wall_seconds=wall_seconds,
        fingerprint="f",
        seed=0,
        finished_at=begin + datetime.timedelta(seconds=ended),
    )


def summary_text(**settings):
    canvas = Console(file=io.StringIO(), width=80, color_system=None)
    known = {"records": [], "metric": "auc", "best": None, "folder": "runs/t/n", "commands": []}
    canvas.print(closing_summary(**{**known, **settings}), soft_wrap=True)
    return canvas.file.getvalue()


def test_the_panel_has_twelve_rows_of_eighty_columns_with_many_running_trials():
    progress, _ = make_progress(is_terminal=True, name="n" * 90, minutes=90, workers=40)
    with progress:
        for number in range(40):
            progress.started(number, LONG_TEXT)
            progress.epoch(number, 7, 2000, 0.71)
        for cause in ("nan", "out_of_memory", "lost_worker", "exception"):
            progress.finished(ord(cause[0]), "failed", cause, None, LONG_TEXT)
        rows = panel(progress)

    assert len(rows) == 12
    assert {len(row) for row in rows} == {80}
    assert rows[0].startswith("╭─ SYNTHETIC search")
    assert "and 35 more" in rows[-2]


def test_the_panel_shows_counts_best_and_running_trials():
    progress, clock = make_progress(is_terminal=True, is_synthetic=False)
    with progress:
        progress.started(0, "vgg16 top")
        progress.started(1, "resnet50 top")
        progress.epoch(1, 3, 30, 0.66)
        progress.finished(0, "complete", None, 0.81, "vgg16 top")
        progress.finished(2, "pruned", "pruner", 0.95, "xception top")
        progress.finished(3, "failed", "nan", None, "cnn")
        clock.seconds += 65
        text = "\n".join(panel(progress))

    assert "SYNTHETIC" not in text
    assert "3 of 10 trials   elapsed 1:05" in text
    assert "running 1   complete 1   pruned 1   failed 1 (nan)" in text
    assert "best: trial 0  auc 0.810  vgg16 top" in text
    assert "trial 1    epoch   3/30  0.660  resnet50 top" in text


def test_a_pruned_trial_is_never_called_the_best():
    progress, _ = make_progress()
    with progress:
        progress.finished(2, "pruned", "pruner", 0.95, "vgg16")
        assert "no trial is complete yet" in "\n".join(panel(progress))


def test_the_panel_leaves_the_terminal_when_the_search_ends_and_failures_stay_above_it():
    progress, _ = make_progress(is_terminal=True)
    with progress:
        progress.finished(0, "complete", None, 0.8, "vgg16")
        progress.finished(1, "failed", "nan", None, "cnn")
    after = printed(progress)

    assert "[2/10] trial 1 failed (nan)  cnn" in after
    assert "trial 0 complete" not in after
    assert "\x1b[2K" in after.rsplit("╰", 1)[1]


def test_outside_a_terminal_each_finished_trial_is_one_plain_line_of_at_most_80_columns():
    progress, _ = make_progress(trials=2)
    with progress:
        progress.started(0, LONG_TEXT)
        progress.epoch(0, 1, 30, 0.7)
        progress.finished(0, "complete", None, 0.8123, LONG_TEXT)
        progress.finished(1, "pruned", "pruner", 0.6, "vgg16 [bold]")
    lines = printed(progress).splitlines()

    assert lines[0] == "SYNTHETIC search benign_malignant/baseline on phantom: 2 trials, 2 at once"
    assert lines[1].startswith("[1/2] trial 0 complete auc 0.812  efficientnet_lite0 top+2")
    assert lines[1].endswith("...")
    assert lines[2] == "[2/2] trial 1 pruned (pruner) auc 0.600  vgg16 [bold]"
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in printed(progress)
    assert "\r" not in printed(progress)


def test_a_heartbeat_comes_when_nothing_was_printed_for_thirty_seconds():
    progress, clock = make_progress()
    with progress:
        progress.started(0, "vgg16")
        clock.seconds += 29
        progress.epoch(0, 1, 30, 0.5)
        before = len(printed(progress).splitlines())
        clock.seconds += 1
        progress.epoch(0, 2, 30, 0.5)
        progress.epoch(0, 3, 30, 0.5)
    lines = printed(progress).splitlines()

    assert before == 1
    assert lines[1:] == ["0 of 10 trials ended, 1 running; elapsed 0:30, left ?"]


def test_the_heartbeat_beats_while_no_trial_reports(monkeypatch):
    monkeypatch.setattr("orchestrator.reporting.terminal._WAKE_SECONDS", 0.005)
    progress, clock = make_progress()
    with progress:
        clock.seconds += 31
        for _ in range(400):
            if "left ?" in printed(progress):
                break
            progress._closing.wait(0.005)
    assert "0 of 10 trials ended, 0 running; elapsed 0:31, left ?" in printed(progress)
    assert not progress._pulse.is_alive()


def test_time_left_is_unknown_until_two_trials_ended():
    unknown = {"remaining": 8, "elapsed_seconds": 60.0, "budget_seconds": 600.0}
    assert seconds_left(finished=0, **unknown) is None
    assert seconds_left(finished=1, **unknown) is None
    assert seconds_left(finished=2, **unknown) == 240.0


def test_time_left_is_never_more_than_the_budget_nor_below_zero():
    assert seconds_left(finished=2, remaining=8, elapsed_seconds=60, budget_seconds=100) == 40
    assert seconds_left(finished=2, remaining=8, elapsed_seconds=160, budget_seconds=100) == 0
    assert seconds_left(finished=0, remaining=0, elapsed_seconds=5, budget_seconds=None) == 0


def test_trials_of_an_earlier_session_count_as_ended_but_set_no_pace():
    earlier = [record(0, value=0.9), record(1, "failed", "nan"), record(2, "pruned", "pruner")]
    progress, clock = make_progress(already=earlier, minutes=10)
    with progress:
        clock.seconds += 40
        progress.finished(3, "complete", None, 0.7, "resnet50")
        text = "\n".join(panel(progress))

    assert "4 of 10 trials   elapsed 0:40 of 10:00, left ?" in text
    assert "best: trial 0  auc 0.900  vgg16" in text


def test_trials_that_others_run_or_a_grid_does_not_hold_take_no_time():
    to_come = [40]
    progress, clock = make_progress(trials=100, to_come=lambda: to_come[0])
    with progress:
        for number in range(2):
            progress.started(number, "vgg16")
            clock.seconds += 10
            progress.finished(number, "complete", None, 0.7, "vgg16")
        assert "left 6:40" in panel(progress)[1]  # 40 at 10 s each, and not 98
        progress.started(2, "vgg16")
        to_come[0] = 0
        progress.started(3, "vgg16")
        assert "left 0:20" in panel(progress)[1]


def test_a_line_of_a_trial_says_which_recipe_or_experience_it_is_of():
    view, _ = make_progress()
    with view:
        view.on_trial_end(record(0, value=0.7))
        view.on_trial_end(record(1, value=0.8).model_copy(update={"recipe": "experience"}))
    assert "trial 0 complete auc 0.700  vgg16\n" in printed(view)
    assert "trial 1 complete auc 0.800  experience: vgg16\n" in printed(view)


def test_an_interruption_is_said_with_what_is_kept():
    progress, _ = make_progress()
    with progress:
        progress.started(0, "vgg16")
        progress.finished(1, "complete", None, 0.7, "vgg16")
        progress.interrupted()
    assert printed(progress).endswith("interrupted: 1 trial ended and kept, 1 cut short\n")


def test_a_note_is_printed_whole_and_its_brackets_are_no_markup():
    progress, _ = make_progress()
    with progress:
        progress.note("left out: [red] " + "x" * 100)
    assert "left out: [red] " + "x" * 100 + "\n" in printed(progress)


def test_an_error_inside_the_search_passes_through_and_ends_the_view():
    progress, _ = make_progress(is_terminal=True)
    with pytest.raises(RuntimeError, match="broken"), progress:
        raise RuntimeError("broken")
    assert not progress._live.is_started


def test_the_view_goes_to_standard_error_by_default(capsys):
    known = {"task": "t", "name": "n", "data": "d", "minutes": None, "workers": 1, "is_synthetic": False}
    with SearchProgress(**known, trials=1) as progress:
        progress.note("hello")
    assert capsys.readouterr().out == ""


def test_durations_read_as_minutes_and_hours():
    assert [clock_text(seconds) for seconds in (-1, 59.9, 60, 3600)] == ["0:00", "0:59", "1:00", "1:00:00"]


def test_texts_are_cut_to_the_width_and_never_longer():
    assert fitted("abcdef", 6) == "abcdef"
    assert fitted("abcdefg", 6) == "abc..."
    assert all(len(fitted("abcdefg", width)) <= width for width in range(8))


def test_the_summary_tells_states_causes_best_interval_savings_and_what_to_type():
    ended = [
        record(0, value=0.84, ended=60, wall_seconds=60),
        record(1, "failed", "nan", ended=70, wall_seconds=20),
        record(2, "failed", "nan", ended=90, wall_seconds=20),
        record(3, "failed", "exception", ended=90, wall_seconds=1),
        record(4, "pruned", "pruner", ended=600, wall_seconds=30),
    ]
    text = summary_text(
        records=ended,
        best=(0, 0.84, "vgg16 top"),
        notes=[("shared", "3 trials read 40 views"), ("time", "")],
        commands=["tensorboard --logdir runs", "orchestrate leaderboard runs/" + "x" * 80],
    )
    said = "5 trials ended: 1 complete, 1 pruned (pruner), 3 failed (2 nan, 1 exception); these ran for 2:00"
    assert said in text.replace("\n", " ")
    assert "best      trial 0: auc 0.840  vgg16 top\n" in text
    assert "shared    3 trials read 40 views\n" in text
    assert "kept in   runs/t/n\n" in text
    assert "next      tensorboard --logdir runs\n" in text
    assert "          orchestrate leaderboard runs/" + "x" * 80 + "\n" in text


def test_the_summary_of_nothing_complete_says_so():
    text = summary_text(records=[record(0, "failed", "nan")])
    assert "1 trial ended: 0 complete, 0 pruned, 1 failed (nan); these ran for 0:00\n" in text
    assert "none: no trial is complete" in text
    assert "shared" not in text


def test_pauses_and_trials_side_by_side_do_not_count_twice():
    side_by_side = [record(ended=10, wall_seconds=10), record(ended=15, wall_seconds=10)]
    after_a_pause = record(ended=1000, wall_seconds=5)
    assert busy_seconds(side_by_side) == 15
    assert busy_seconds([after_a_pause, *side_by_side]) == 20
    assert busy_seconds([]) == 0


def test_features_that_are_not_kept_are_said_once():
    view, _ = make_progress()
    full = FeatureUse("stored views", "top", 1, 1, 0, note="the disk of /store is full")
    with view:
        for number in range(3):
            view.on_trial_end(record(number).model_copy(update={"prefix": full}))
        view.on_trial_end(record(3))
    said = "features are not kept, which costs every trial time: the disk of /store is full"
    assert printed(view).replace("\n", " ").count(said) == 1


def test_the_panel_and_the_summary_say_what_the_time_of_the_workers_went_into():
    worker_clock = FakeClock()
    worker_time = WorkerTime(worker_clock)
    progress, _ = make_progress(is_terminal=True, worker_time=worker_time)
    with progress:
        assert "time: not yet known" in "\n".join(panel(progress))
        worker_time.begin(2)
        worker_time.started(0)
        worker_clock.seconds += 75
        worker_time.opened(0, opening_seconds=30.0, waited_seconds=15.0)
        assert "time: busy 40 % of 2:30 worker time (features 10 %, training 30 %)" in "\n".join(
            panel(progress)
        )

    said = shares_text(worker_time.shares())
    assert f"time      {said}" in summary_text(records=[record()], notes=[("time", said)])
