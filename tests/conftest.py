"""Shared fixtures: small material that trains in seconds, and a run folder around it."""

import os

# Small matrices: threads that wait for a busy core cost more. NumPy's library reads it when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # tests load ONNX Runtime by themselves, too

import zlib
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
from debian_packages import require
from records import search_record

from results.run.records import SearchRecord
from trainables.common.remarks import remark_once, take_remarks
from trainables.data.patches import PatchSet, RawPatches, store_patch_set
from trainables.data.sources.checks import baseline_partners


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share",
        type=int,
        default=1,
        metavar="N",
        help="run one in N of the tests marked as long or machines",
    )
    parser.addoption("--drawn-by", default="", metavar="TEXT", help="another text draws another share")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out all but a share of what takes long, the same tests for the same text on every machine."""
    shares, text = config.getoption("share"), config.getoption("drawn_by")
    left_out = [
        item
        for item in items
        if any(map(item.get_closest_marker, ("long", "machines")))
        and zlib.crc32(f"{text} {item.nodeid}".encode()) % shares
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, let a test fail that lacks a program or a right: there, nothing of that kind may be left out."""
    report = yield
    reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
    if os.environ.get("CI") and reason.startswith("needs ") and not reason.startswith("needs a GPU"):
        report.outcome, report.longrepr = "failed", f"left out in CI: {reason}"
    return report


@pytest.fixture
def rsync() -> None:
    """Need rsync, which CI installs."""
    require({"rsync": "rsync"})


@pytest.fixture(autouse=True)
def _nothing_was_said_yet() -> None:
    """Forget what earlier tests of this process have remarked."""
    take_remarks()
    remark_once.cache_clear()


@pytest.fixture
def make_search() -> Callable[..., SearchRecord]:
    """Build a `search.yaml` record; any field may be given."""
    return search_record


@pytest.fixture
def bright_patches(tmp_path: Path) -> PatchSet:
    """48 grey patches of 24 patients, 48x48 uint16; malignant ones hold a bright spot, to be learnt."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.tile([0, 1], 12), 2).astype(np.int64)
    images = random.integers(0, 20_000, (48, 48, 48)).astype(np.uint16)
    for image, label in zip(images, labels, strict=True):
        image[16:32, 16:32] += np.uint16(25_000 * label)
    raw = RawPatches(
        images=images,
        labels=labels,
        label_codes="task",
        patients=np.array([f"p{index // 2:02d}" for index in range(48)]),
        source="bright spots",
    )
    return store_patch_set(raw, tmp_path / "store" / "data")


@pytest.fixture
def paired_patches(tmp_path: Path) -> PatchSet:
    """96 grey patches in pairs of a baseline and its abnormality, in Pisa's codes, 32x32 uint16, 24 patients.

    A malignant abnormality is brighter than its own baseline, not than others: the level of a pair varies by
    more than the difference. A calcification is striped.
    """
    random = np.random.default_rng(0)
    findings = np.tile([1, 2, 3, 4], 12)
    levels = random.integers(0, 40_000, (48, 1, 1)).repeat(2, axis=0)
    images = (levels + random.integers(0, 1_500, (96, 32, 32))).astype(np.int64)
    images[1::2][np.isin(findings, (2, 4))] += 9_000
    images[1::2, ::4][np.isin(findings, (3, 4))] += 9_000
    labels = np.zeros(96, dtype=np.int64)
    labels[1::2] = findings
    raw = RawPatches(
        images=images.astype(np.uint16),
        labels=labels,
        label_codes="pisa",
        patients=np.array([f"p{index // 4:02d}" for index in range(96)]),
        partners=baseline_partners(96),
        source="pairs",
    )
    return store_patch_set(raw, tmp_path / "store" / "data")
