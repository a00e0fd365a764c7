"""Event files are read back with TensorBoard's own reader, as its pages would see them."""

import datetime
import os
import subprocess
import sys
import threading
import types

import pytest
from tensorboard.backend.event_processing import data_provider
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from orchestrator.reporting.plots import confusion_picture
from orchestrator.reporting.setting_columns import Column, setting_columns, shown
from orchestrator.reporting.tensorboard import MOST_TAGS, TensorBoardLog
from orchestrator.reporting.worker_time import TimeShares
from results.run.records import TrialRecord
from trainables.config.trial_config import decode, flatten, setting_names

ALL_STATUSES = [
    api_pb2.STATUS_UNKNOWN,
    api_pb2.STATUS_SUCCESS,
    api_pb2.STATUS_FAILURE,
    api_pb2.STATUS_RUNNING,
]
EPOCH = {"loss/train": 0.6, "auc/validation": 0.7, "fold_1/auc": 0.69}


class FakeClock:
    def __init__(self):
        self.seconds = 1_700_000_000.0

    def __call__(self):
        self.seconds += 1
        return self.seconds


@pytest.fixture
def log(tmp_path):
    return TensorBoardLog(tmp_path, clock=FakeClock())


def settings(**changes):
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return flatten(decode({"model.backbone": "vgg16", **named}).model_dump())


def opened(folder):
    multiplexer = EventMultiplexer(tensor_size_guidance={"images": 0, "scalars": 0})
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    return multiplexer


def curve(folder, number, tag):
    found = opened(folder).Tensors(f"trial-{number:04d}", tag)
    return [(event.step, round(event.tensor_proto.float_val[0], 4)) for event in found]


def tags(folder, number):
    return set(opened(folder).GetAccumulator(f"trial-{number:04d}").Tags()["tensors"])


def table(folder):
    """What the HParams page asks its server for: the experiment and the rows."""
    provider = data_provider.MultiplexerDataProvider(opened(folder), str(folder))
    context = backend_context.Context(types.SimpleNamespace(data_provider=provider))
    ctx = RequestContext()
    metadata = context.hparams_metadata(ctx, "e")
    experiment = context.experiment_from_metadata(ctx, "e", True, metadata, [])
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=1000, allowed_statuses=ALL_STATUSES, include_metrics=True
    )
    for info in experiment.hparam_infos:
        request.col_params.add(hparam=info.name)
    for info in experiment.metric_infos:
        request.col_params.add(metric=info.name)
    handler = list_session_groups.Handler(
        request_context=ctx, backend_context=context, experiment_id="e", request=request
    )
    return experiment, {group.name: group for group in handler.run().session_groups}


def test_scalars_of_each_epoch_land_in_one_file_a_trial(log, tmp_path):
    for epoch in (1, 2, 3):
        log.epoch(12, epoch, {**EPOCH, "loss/train": epoch / 10})
    log.finish(12, settings(), 0.8, "complete")

    assert curve(tmp_path, 12, "loss/train") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert curve(tmp_path, 12, "final/auc") == [(3, 0.8)]
    assert len(list((tmp_path / "trial-0012").iterdir())) == 1


def test_what_is_no_finite_number_is_left_out(log, tmp_path):
    log.epoch(
        0, 1, {"nan": float("nan"), "inf": float("inf"), "text": "a", "none": None, "flag": True, "a": 1}
    )
    assert tags(tmp_path, 0) == {"a"}


def test_an_epoch_without_a_number_writes_no_file(log, tmp_path):
    log.epoch(0, 1, {"loss/train": float("nan")})
    assert not (tmp_path / "trial-0000").exists()


def test_tags_are_bounded_and_folds_are_the_first_to_go(log, tmp_path):
    report = {f"fold_{fold}/auc": 0.5 for fold in range(200)} | {"loss/train": 0.1, "auc/validation": 0.7}
    log.epoch(0, 1, report)
    kept = tags(tmp_path, 0)
    assert len(kept) == MOST_TAGS
    assert {"loss/train", "auc/validation", "fold_0/auc"} <= kept


def test_the_table_has_all_columns_though_the_first_trial_lacks_some(log, tmp_path):
    log.write_experiment(setting_columns())
    log.finish(0, settings(optimizer__name="adam"), 0.7, "complete")
    log.finish(1, settings(optimizer__name="sgd", optimizer__momentum=0.9), 0.8, "complete")
    experiment, rows = table(tmp_path)

    assert {info.name for info in experiment.hparam_infos} == {"state", *setting_names()}
    assert "optimizer.momentum" not in rows["trial-0000"].hparams
    assert rows["trial-0001"].hparams["optimizer.momentum"].number_value == 0.9
    assert [info.name.tag for info in experiment.metric_infos] == ["final/auc"]
    assert rows["trial-0001"].metric_values[0].value == pytest.approx(0.8)


def test_rows_tell_how_trials_ended_and_only_complete_ones_have_a_score(log, tmp_path):
    log.write_experiment(setting_columns())
    log.epoch(0, 1, EPOCH)
    log.finish(0, settings(), 0.7, "complete")
    log.epoch(1, 1, EPOCH)
    log.finish(1, settings(), 0.9, "pruned")
    log.finish(2, settings(), None, "failed")
    log.finish(3, settings(), float("nan"), "complete")
    _, rows = table(tmp_path)

    assert [rows[f"trial-000{n}"].hparams["state"].string_value for n in range(3)] == [
        "complete",
        "pruned",
        "failed",
    ]
    assert [rows[f"trial-000{n}"].sessions[0].status for n in range(3)] == [
        api_pb2.STATUS_SUCCESS,
        api_pb2.STATUS_SUCCESS,
        api_pb2.STATUS_FAILURE,
    ]
    assert [len(rows[f"trial-000{n}"].metric_values) for n in range(4)] == [1, 0, 0, 0]
    assert rows["trial-0000"].sessions[0].end_time_secs > rows["trial-0000"].sessions[0].start_time_secs


def test_trials_of_equal_settings_stay_two_rows(log, tmp_path):
    log.write_experiment(setting_columns())
    log.finish(0, settings(), 0.7, "complete")
    log.finish(1, settings(), 0.7, "complete")
    assert len(table(tmp_path)[1]) == 2


def test_equal_trial_numbers_of_two_runs_stay_two_rows(tmp_path):
    for name in ("a", "b"):
        log = TensorBoardLog(tmp_path / name, clock=FakeClock())
        log.write_experiment(setting_columns())
        log.finish(0, settings(), 0.7, "complete")
    assert set(table(tmp_path)[1]) == {"a/trial-0000", "b/trial-0000"}


def test_a_resumed_search_goes_on_in_a_new_file_and_drops_the_steps_it_runs_again(log, tmp_path):
    log.write_experiment(setting_columns())
    for epoch in (1, 2, 3):
        log.epoch(4, epoch, {"loss/train": 1.0})
    (torn,) = (tmp_path / "trial-0004").iterdir()
    with torn.open("ab") as file:
        file.write(b"\x20\x00\x00half a record")

    again = TensorBoardLog(tmp_path, clock=FakeClock())
    again.write_experiment(setting_columns())
    for epoch in (2, 3, 4):
        again.epoch(4, epoch, {"loss/train": 2.0})
    again.finish(4, settings(), 0.8, "complete")

    assert curve(tmp_path, 4, "loss/train") == [(1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)]
    assert len(list((tmp_path / "trial-0004").iterdir())) == 2
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 1
    experiment, rows = table(tmp_path)
    names = [info.name for info in experiment.hparam_infos]
    assert len(names) == len(set(names))
    assert list(rows) == ["trial-0004"]


@pytest.mark.parametrize("first", [1, 3])
def test_a_trial_that_is_run_again_in_the_same_search_has_each_epoch_once(log, tmp_path, first):
    for epoch in (1, 2, 3, 4):
        log.on_epoch_end(4, epoch, 9, 0.6, {"loss/train": 1.0})
    log.on_trial_requeued(4, "its worker died")
    for epoch in range(first, 4):
        log.on_epoch_end(4, epoch, 9, 0.7, {"loss/train": 2.0})
    again = [(epoch, 2.0) for epoch in range(first, 4)]
    assert curve(tmp_path, 4, "loss/train") == [(epoch, 1.0) for epoch in range(1, first)] + again
    log.on_trial_requeued(5, "it wrote nothing yet")


def test_pictures_added_later_leave_the_curves_alone(log, tmp_path):
    log.epoch(4, 1, EPOCH)
    log.epoch(4, 2, EPOCH)
    picture = confusion_picture([[3, 1], [0, 4]], ("benign", "malignant"))
    TensorBoardLog(tmp_path, clock=FakeClock()).pictures(4, {"confusion": picture})

    assert [step for step, _ in curve(tmp_path, 4, "loss/train")] == [1, 2]
    (event,) = opened(tmp_path).Tensors("trial-0004", "confusion")
    assert list(event.tensor_proto.string_val) == [b"600", b"520", picture]


def test_a_picture_that_is_no_png_is_refused(log):
    with pytest.raises(ValueError, match="'roc' must be the content of a PNG file, found b'GIF89a'"):
        log.pictures(0, {"roc": b"GIF89a"})


def test_nothing_is_kept_of_a_trial_that_has_ended(log, tmp_path):
    ended = TrialRecord(
        number=0,
        state="complete",
        config={},
        value=0.7,
        fingerprint="f",
        seed=0,
        finished_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    )
    for number in range(20):
        log.on_epoch_end(number, 3, 9, 0.7, EPOCH)
        log.on_trial_end(ended.model_copy(update={"number": number}))
    assert log._files == log._started == log._last_epoch == {}
    assert curve(tmp_path, 7, "final/auc") == [(3, 0.7)]
    assert len([*(tmp_path / "trial-0007").iterdir()]) == 1


def test_two_hundred_trials_hold_no_file_and_no_thread(log):
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(200):
        log.epoch(number, 1, EPOCH)
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == files  # noqa: PTH208


def test_choices_and_kinds_of_columns_come_from_the_configuration():
    columns = {column.name: column for column in setting_columns({"model.backbone": ["vgg16", "cnn"]})}
    assert columns["model.backbone"] == Column("model.backbone", "text", ("vgg16", "cnn"), is_first=True)
    assert columns["model.head.batch_norm"] == Column("model.head.batch_norm", "flag", (True, False))
    assert columns["optimizer.momentum"] == Column("optimizer.momentum", "number")
    assert columns["model.head.hidden"].kind == "text"
    # A number or a word: text, and no list of choices, since a filter would hide what it lacks.
    assert columns["training.class_weight"] == Column("training.class_weight", "text")
    assert columns["model.trained_stages"].kind == "text"
    assert len(columns) == len(setting_names())


def test_the_five_columns_that_the_page_opens_with_exist():
    assert sum(column.is_first for column in setting_columns()) == 5


def test_ranges_of_numbers_become_filters(log, tmp_path):
    log.write_experiment([Column("optimizer.lr", "number", (0.1, 0.001, 0.01))])
    info = next(info for info in table(tmp_path)[0].hparam_infos if info.name == "optimizer.lr")
    assert (info.domain_interval.min_value, info.domain_interval.max_value) == (0.001, 0.1)


def test_settings_of_mixed_type_are_text_in_every_row(log, tmp_path):
    log.write_experiment(setting_columns())
    log.finish(0, settings(training__class_weight=1.3, model__head__hidden=[64, 32]), 0.7, "complete")
    log.finish(1, {"new.setting": 3, "new.flag": True}, 0.7, "complete")
    _, rows = table(tmp_path)
    assert rows["trial-0000"].hparams["training.class_weight"].string_value == "1.3"
    assert rows["trial-0000"].hparams["model.head.hidden"].string_value == "64-32"
    assert shown((), "text") == "none"


def test_importing_it_brings_neither_tensorflow_nor_torch_nor_matplotlib():
    heavy = ("tensorflow", "torch", "ray", "optuna", "matplotlib", "sklearn")
    module = "orchestrator.reporting.tensorboard"
    code = f"import {module}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_session_says_on_the_page_of_texts_what_the_time_of_its_workers_went_into(log, tmp_path):
    log.write_time(TimeShares(features=285.0, training=383.0, waiting=83.0))
    log.write_time(TimeShares(training=3.0, waiting=1.0))

    texts = sorted(tmp_path.glob("*.worker_time"))
    shown = [opened_text(path) for path in texts]
    assert [step for step, _ in shown] == [0, 1]
    assert "| features | 4:45 | 38 % |" in shown[0][1]
    assert "| waiting | 0:01 | 25 % |" in shown[1][1]


def opened_text(path):
    """The text of an event file, as the plugin of texts finds it."""
    accumulator = EventAccumulator(str(path))
    accumulator.Reload()
    assert accumulator.PluginTagToContent("text").keys() == {"worker time"}
    (event,) = accumulator.Tensors("worker time")
    return event.step, event.tensor_proto.string_val[0].decode()
