"""The pretended worker of `benchmarks.scale` reports what a worker reports."""

from dataclasses import fields

from benchmarks.scale_worker import Report
from orchestrator.tuning.worker_report import WorkerReport


def test_its_report_has_the_fields_of_a_worker_s() -> None:
    assert [field.name for field in fields(Report)] == [field.name for field in fields(WorkerReport)]
