"""The commands of pages that have `<!-- run -->` above them do what the pages say, with real Ray on two CPUs.

Blocks of a page run in its order, in one folder. A page whose search is not small brings what makes it so.
"""

import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pytest
from fenced_blocks import Block
from page_commands import BLOCKS, SHELL, status
from page_outputs import headings, missing_lines

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]  # a minute or two where nothing else runs

ROOT = Path(__file__).parents[2]
PAGES = {
    page.name: list(blocks)
    for page, blocks in groupby(
        (block for block in SHELL if status(block) == "run"), key=lambda block: block.page
    )
}
# A search of a page gets these besides what is typed there; of an option that stands twice, the last holds.
SMALL = (
    "--trials 2 --minutes 2 --epochs 2 --folds 3 --offline --address local "
    "--set model.backbone=efficientnet_lite0 --set model.trained_stages=0 "
    "--set optimizer.name=adam --set optimizer.lr=0.01 --set model.head.batch_norm=true"
)
SHRUNK = ("README.md",)
SETUP = """\
set -eu
orchestrate() {{
    if [ "$1" = search ]; then set -- "$@" {more}; fi
    # A search that is not as small measures at its end what its best trials cost.
    if [ "$1" = leaderboard ] && [ -n "{more}" ]; then set -- "$@" --costs; fi
    {python} -m orchestrator.cli.main "$@"
}}
python() {{ {python} "$@"; }}
tensorboard() {{  # a server: it must be at work when its time is up
    timeout 15 {python} -m tensorboard.main --port 0 "$@" || [ $? = 124 ]
}}
"""


@dataclass(frozen=True)
class Outcome:
    """What a block printed, standard error included."""

    block: Block
    printed: str


def run(block: Block, folder: Path, more: str) -> Outcome:
    script = SETUP.format(python=sys.executable, more=more) + block.text
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{block.text}\n{done.stdout}"
    return Outcome(block, done.stdout)


def write_patches(folder: Path) -> None:
    """What the first page calls `patches.npz`, `image.png` and `more/`: malignant ones hold a bright spot."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.tile([0, 1], 20), 2)
    images = random.integers(0, 20_000, (80, 48, 48)).astype(np.uint16)
    images[labels == 1, 16:32, 16:32] += 12_000
    patients = np.array([f"p{index // 2:02d}" for index in range(80)])
    np.savez(folder / "patches.npz", images=images, labels=labels, patient=patients)
    (folder / "more").mkdir()
    for path, image in zip(("image.png", "more/a.png", "more/b.png"), images, strict=False):
        cv2.imwrite(str(folder / path), image)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_in_their_order_and_print_what_it_shows(page: str, tmp_path: Path) -> None:
    write_patches(tmp_path)
    is_shrunk = page in SHRUNK
    outcomes = [run(block, tmp_path, SMALL if is_shrunk else "") for block in PAGES[page]]
    missing = [
        line
        for outcome in outcomes
        for shown in shown_after(outcome.block)
        for line in missing_lines(only_tables(shown) if is_shrunk else shown, outcome.printed)
    ]
    assert missing == [], "the page shows lines that are not printed"


def only_tables(shown: str) -> str:
    """The headings of tables, of outputs of a search that is not as small."""
    return "".join(f"{heading}\n─\n" for heading in headings(shown))


def shown_after(block: Block) -> list[str]:
    """The outputs that a page shows behind a block of commands, up to the next one."""
    after = BLOCKS[BLOCKS.index(block) + 1 :]
    until = itertools.takewhile(lambda one: one.page == block.page and one.language != "sh", after)
    return [one.text for one in until if one.language == "text"]


def test_the_tutorial_and_the_first_page_are_run() -> None:
    assert set(PAGES) >= {"README.md", "tutorial-command-line.md"}
