"""The commands of pages that have `<!-- run -->` above them do what the pages say, with real Ray on two CPUs.

Blocks of a page run in its order, in one folder. A page whose search is not small brings what makes it so.
"""

import os
import re
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
    {python} -m orchestrator.cli.main "$@"
}}
python() {{ {python} "$@"; }}
tensorboard() {{  # a server: it must be at work when its time is up
    timeout 15 {python} -m tensorboard.main --port 0 "$@" || [ $? = 124 ]
}}
"""


@dataclass(frozen=True)
class Outcome:
    """What a block printed, standard error included, its white space evened."""

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
    return Outcome(block, " ".join(done.stdout.split()))


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
def test_the_commands_of_a_page_run_in_their_order(page: str, tmp_path: Path) -> None:
    write_patches(tmp_path)
    more = SMALL if page in SHRUNK else ""
    outcomes = [run(block, tmp_path, more) for block in PAGES[page]]
    if page not in SHRUNK:
        missing = [
            line
            for outcome in outcomes
            for line in words_of_what_follows(outcome.block)
            if line not in outcome.printed
        ]
        assert missing == [], "the page shows lines that are not printed"


def words_of_what_follows(block: Block) -> list[str]:
    """Lines of the `text` block after a block of commands that hold words and no figures.

    Figures may differ from machine to machine; headings, legends and labels may not.
    """
    after = BLOCKS[BLOCKS.index(block) + 1 :][:1]
    shown = after[0].text.splitlines() if after and after[0].language == "text" else []
    lines = [" ".join(line.split()) for line in shown]
    return [line for line in lines if re.search(r"[a-z]{3}", line) and not re.search(r"\d|\.\.\.", line)]


def test_the_tutorial_and_the_first_page_are_run() -> None:
    assert set(PAGES) >= {"README.md", "tutorial-command-line.md"}
