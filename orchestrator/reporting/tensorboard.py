"""TensorBoard event files of a search: curves of every trial, the HParams table, pictures of the best.

Event files are written with TensorBoard's own protocol buffers and record format, one file a trial. A file is
open only while something is appended, so two hundred trials hold no file handle and no writer thread, and
neither TensorFlow nor torch is imported.

The HParams table needs one experiment summary with all columns at the root: without it TensorBoard takes the
columns of the first trial and drops the settings that this trial lacks.
"""

import io
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.struct_pb2 import Value
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from orchestrator.callbacks import Callback
from orchestrator.reporting.setting_columns import Column, Kind, cell_of, column_info, kind_of_value, shown
from orchestrator.reporting.worker_time import TimeShares
from results.run.records import State, TrialRecord
from results.run.split_labels import GROUPED, NAIVE, SplitName, scored
from results.scores.metrics import metric_named
from trainables.common.files import write_atomically
from trainables.common.text import clock_text

MOST_TAGS: Final = 64  # a trial; TensorBoard keeps and draws every tag of every trial
EXPERIMENT_FILE: Final = "events.out.tfevents.0000000000.search"

_STATES: Final = ("complete", "pruned", "failed")
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(slots=True)
class TensorBoardLog(Callback):
    """Writes the event files of one search.

    Attributes:
        folder: Folder of all event files of the search; each trial gets `trial-0012/` in it, with a naive
            split `trial-0012-naive-split/`.
        metric: Metric that the search optimises; the final score is the scalar `final/<metric>`.
        also: Other metrics that it optimises or requires something of; each has such a scalar, too.
        split: Name of the kind of split; a naive one is named in every TensorBoard run and final score.
        clock: Function that returns the seconds since 1970; injected for tests.
    """

    folder: Path
    metric: str = "auc"
    also: tuple[str, ...] = ()
    split: SplitName = GROUPED
    clock: Callable[[], float] = time.time
    _files: dict[int, Path] = field(default_factory=dict, repr=False)
    _started: dict[int, float] = field(default_factory=dict, repr=False)
    _last_epoch: dict[int, int] = field(default_factory=dict, repr=False)
    _kinds: dict[str, Kind] = field(default_factory=dict, repr=False)

    def on_epoch_end(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None:
        """Write the scalars of an epoch."""
        self.epoch(number, epoch, scalars)

    def on_trial_requeued(self, number: int, reason: str) -> None:
        """Go on in a new file, so that TensorBoard drops the epochs that the trial runs again."""
        self._files.pop(number, None)

    def on_trial_end(self, record: TrialRecord) -> None:
        """Write the hyperparameters with the final score."""
        try:
            self.finish(record.number, record.config, record.value, record.state, values=record.values)
        finally:
            for known in (self._files, self._started, self._last_epoch):  # of those that run
                known.pop(record.number, None)

    def write_experiment(self, columns: Collection[Column]) -> None:
        """Write the columns of the HParams table, replacing what an earlier session of the search wrote.

        Args:
            columns: All settings that any trial may have; `setting_columns()` gives them.
        """
        self._kinds = {column.name: column.kind for column in columns}
        state = Column("state", "text", _STATES)
        experiment = api_pb2.Experiment(
            time_created_secs=self.clock(),
            hparam_infos=[column_info(column) for column in (state, *columns)],
            metric_infos=[
                api_pb2.MetricInfo(
                    name=api_pb2.MetricName(tag=_final_tag(metric)),
                    display_name=f"{scored(metric, self.split)}, {_how_computed(metric)}",
                    dataset_type=api_pb2.DATASET_VALIDATION,
                )
                for metric in (self.metric, *self.also)
            ],
        )
        summary = _plugin_summary(metadata.EXPERIMENT_TAG, experiment=experiment)
        events = [_opening_event(self.clock()), self._event(0, summary)]
        write_atomically(self.folder / EXPERIMENT_FILE, _as_records(events))

    def write_time(self, shares: TimeShares) -> None:
        """Write what the workers' time of a session went into, as a table on the page of texts.

        Every session of a search has an event file of its own, so that none replaces another's.
        """
        now = self.clock()
        kinds = ("features", "training", "waiting")
        rows = [
            f"| {kind} | {clock_text(getattr(shares, kind))} | {percent} % |"
            for kind, percent in zip(kinds, shares.percent, strict=True)
        ]
        table = "\n".join(["| worker time | | share |", "| --- | --- | --- |", *rows])
        session = len(list(self.folder.glob("*.worker_time")))
        events = [_opening_event(now), self._event(session, [_text("worker time", table)])]
        path = self.folder / f"events.out.tfevents.{int(now):010d}.{session:04d}.worker_time"
        write_atomically(path, _as_records(events))

    def write_search_events(
        self,
        name: str,
        *,
        scalars: Sequence[tuple[str, int, float]] = (),
        texts: Mapping[str, str] = MappingProxyType({}),
        pictures: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Write events of the search as a whole, in place of those that were written under the same name.

        Args:
            name: Name of the event file's kind, such as `nested`.
            scalars: Tag, step and value of each.
            texts: Tag -> Markdown.
            pictures: Tag -> PNG file content.

        Raises:
            ValueError: If a content is not that of a PNG file.
        """
        others = [_text(tag, text) for tag, text in texts.items()]
        others += [_image(tag, content) for tag, content in pictures.items()]
        events = [_opening_event(self.clock()), self._event(0, others)]
        events += [self._event(step, [_scalar(tag, value)]) for tag, step, value in scalars]
        folder = "search-naive-split" if self.split == NAIVE else "search"
        write_atomically(self.folder / folder / f"events.out.tfevents.0000000000.{name}", _as_records(events))

    def epoch(self, number: int, epoch: int, report: Mapping[str, Any]) -> None:
        """Append the scalars of one epoch.

        Args:
            number: Trial number.
            epoch: Epoch, 1-based; the step in TensorBoard.
            report: Tag -> number, such as `loss/train` or `fold_1/auc`. Values that are not finite numbers
                are left out; of more than `MOST_TAGS` the first are kept, folds coming last.
        """
        finite = {tag: float(value) for tag, value in report.items() if _is_finite_number(value)}
        kept = sorted(finite, key=lambda tag: tag.startswith("fold_"))[:MOST_TAGS]
        self._last_epoch[number] = epoch
        self._append(number, epoch, [_scalar(tag, finite[tag]) for tag in kept])

    def finish(
        self,
        number: int,
        params: Mapping[str, Any],
        value: float | None,
        state: State,
        *,
        values: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Append the trial's row of the HParams table.

        A score is written for complete trials only: that of a stopped trial comes from fewer epochs and would
        be ranked beside whole ones. Its curve shows how far it came, its `state` column how it ended.

        Args:
            number: Trial number.
            params: Setting -> value, dotted names; None (not set) leaves the cell empty.
            value: Final score, or None.
            state: End state of the trial; a pruned trial ended as planned and counts as a success.
            values: Metric -> final value, for the metrics in `also`.
        """
        now = self.clock()
        start = plugin_data_pb2.SessionStartInfo(
            start_time_secs=self._started.get(number, now),
            hparams=self._cells({**params, "state": state}),
        )
        status = api_pb2.STATUS_FAILURE if state == "failed" else api_pb2.STATUS_SUCCESS
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=now)
        events = [
            *_plugin_summary(metadata.SESSION_START_INFO_TAG, session_start_info=start),
            *_plugin_summary(metadata.SESSION_END_INFO_TAG, session_end_info=end),
        ]
        if state == "complete":
            final = {self.metric: value, **{name: values.get(name) for name in self.also}}
            events += [
                _scalar(_final_tag(name), float(own))  # type: ignore[arg-type]
                for name, own in final.items()
                if _is_finite_number(own)
            ]
        self._append(number, self._last_epoch.get(number, 0), events)

    def pictures(self, number: int, pictures: Mapping[str, bytes]) -> None:
        """Append pictures to a trial; meant for the best few, since TensorBoard loads them all.

        Args:
            number: Trial number.
            pictures: Tag -> PNG file content.

        Raises:
            ValueError: If a content is not that of a PNG file.
        """
        values = [_image(tag, content) for tag, content in pictures.items()]
        self._append(number, self._last_epoch.get(number, 0), values)

    def values(self, number: int, values: list[summary_pb2.Summary.Value]) -> None:
        """Append values of any plugin to a trial; meant for the best few.

        Args:
            number: Trial number.
            values: Values from `orchestrator.reporting.tensorboard_values`.
        """
        self._append(number, self._last_epoch.get(number, 0), values)

    def event(self, number: int, event: event_pb2.Event) -> None:
        """Append an event to a trial, such as its graph."""
        self._write(number, event, step=self._last_epoch.get(number, 0))

    def trial_folder(self, number: int) -> Path:
        """Folder of a trial's event files."""
        return self.folder / _trial_name(number, self.split)

    def _cells(self, params: Mapping[str, Any]) -> dict[str, Value]:
        cells = {}
        for name, value in params.items():
            if value is None:
                continue
            kind = self._kinds.get(name) or kind_of_value(value)
            cells[name] = cell_of(shown(value, kind))
        return cells

    def _append(self, number: int, step: int, values: list[summary_pb2.Summary.Value]) -> None:
        if not values:
            return
        self._write(number, self._event(step, values), step=step)

    def _write(self, number: int, event: event_pb2.Event, *, step: int) -> None:
        if number not in self._files:
            self._files[number] = self._new_file(number, step)
            self._started[number] = self.clock()
        try:
            with self._files[number].open("ab") as file:
                file.write(_as_records([event]))
        except OSError:
            del self._files[number]  # it may end in half a record, behind which nothing is read
            raise

    def _new_file(self, number: int, step: int) -> Path:
        """Start a new event file, because that of an interrupted session may end in half a record.

        If the event file begins with a session start, TensorBoard drops the epochs that a trial runs again,
        in another session or in this one. It counts only a second session start as a restart, so the first
        file needs one, too.
        """
        folder = self.folder / _trial_name(number, self.split)
        folder.mkdir(parents=True, exist_ok=True)
        earlier = len(list(folder.glob("*tfevents*")))
        path = folder / f"events.out.tfevents.{int(self.clock()):010d}.{earlier:04d}"
        events = [_opening_event(self.clock())]
        if number in self._last_epoch:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            events.append(event_pb2.Event(wall_time=self.clock(), step=step, session_log=start))
        with path.open("xb") as file:
            file.write(_as_records(events))
        return path

    def _event(self, step: int, values: list[summary_pb2.Summary.Value]) -> event_pb2.Event:
        return event_pb2.Event(wall_time=self.clock(), step=step, summary=summary_pb2.Summary(value=values))


def _final_tag(metric: str) -> str:
    return f"final/{metric}"


def _how_computed(metric: str) -> str:
    found = metric_named(metric)
    if found.is_cost:
        return "measured"
    return "mean over folds" if found.within_folds else "over all folds"


def _trial_name(number: int, split: SplitName) -> str:
    return f"trial-{number:04d}" + ("-naive-split" if split == NAIVE else "")


def _opening_event(seconds: float) -> event_pb2.Event:
    return event_pb2.Event(wall_time=seconds, file_version="brain.Event:2")


def _as_records(events: list[event_pb2.Event]) -> bytes:
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _plugin_summary(tag: str, **content: Any) -> list[summary_pb2.Summary.Value]:
    data = plugin_data_pb2.HParamsPluginData(**content)
    return [
        summary_pb2.Summary.Value(
            tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
        )
    ]


def _scalar(tag: str, value: float) -> summary_pb2.Summary.Value:
    return summary_pb2.Summary.Value(tag=tag, simple_value=value)


def _text(tag: str, markdown: str) -> summary_pb2.Summary.Value:
    content = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[markdown.encode()])
    kind = text_metadata.create_summary_metadata(display_name=tag, description="")
    return summary_pb2.Summary.Value(tag=tag, tensor=content, metadata=kind)


def _image(tag: str, content: bytes) -> summary_pb2.Summary.Value:
    if not content.startswith(_PNG_START) or len(content) < 24:
        raise ValueError(f"picture {tag!r} must be the content of a PNG file, found {content[:8]!r}")
    width, height = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    image = summary_pb2.Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=content)
    return summary_pb2.Summary.Value(tag=tag, image=image)


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
