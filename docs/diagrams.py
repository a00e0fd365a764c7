"""Diagrams of the documentation as SVG, drawn from the steps that they show.

They are one narrow column, so that their letters stay readable on a telephone, and bring their own ground and
colours for light and dark, so that they do not depend on the page around them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import Final, Literal

_WIDTH: Final = 360  # of a drawing, in pixels; a telephone shows 343 of them or more
_EDGE: Final = 16
_BOX: Final = 284  # width of a step; to its right run the arrows that go back
_GAP: Final = 22  # height of the arrow between two steps
_TITLE: Final = 17  # height of a line of the title, and of the lines below it
_LINE: Final = 16
_PAD: Final = 9
_LONGEST: Final = 42  # letters of a line that fit a step

_STYLE: Final = """\
  .ground { fill: #f7f8fa; stroke: #d5d9e0 }
  .step { fill: #ffffff; stroke: #8a94a6 }
  .disk { fill: #fdf3dc; stroke: #b98a1d }
  .model { fill: #e6f0fb; stroke: #3b73b9 }
  .arrow { fill: none; stroke: #5b6575; stroke-width: 1.5 }
  .head { fill: #5b6575 }
  text { fill: #1c2430; font: 12px system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif }
  .title { font-size: 13.5px; font-weight: 600 }
  .part { fill: #4a5568; font-size: 12px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #1b1f27; stroke: #3a4150 }
    .step { fill: #262c37; stroke: #7d889b }
    .disk { fill: #3a3120; stroke: #c79a35 }
    .model { fill: #1f3047; stroke: #6a9fdd }
    .arrow { stroke: #a5afbf }
    .head { fill: #a5afbf }
    text { fill: #e8ebf0 }
    .part { fill: #b3bccb }
  }"""


@dataclass(frozen=True, slots=True)
class Step:
    """A box of a diagram.

    Attributes:
        title: What it is, in a few words.
        lines: What happens there, each line at most 42 letters.
        kind: `disk` for what is kept as files, `model` for what lies inside the exported model too.
        part: Heading above the step, where a new part of the way begins.
    """

    title: str
    lines: tuple[str, ...]
    kind: Literal["step", "disk", "model"] = "step"
    part: str = ""


@dataclass(frozen=True, slots=True)
class Back:
    """An arrow that goes back up: the number of the step that it leaves, that it reaches, and its words."""

    leaves: int
    reaches: int
    words: str


WAY_OF_AN_IMAGE: Final = (
    Step("Files", ("PNG, TIFF, PGM, .npz, .npy, or the phantom",), "disk"),
    Step("Source", ("reads them, and knows labels and patients;", "masks, copies and bad files are named")),
    Step("PatchSet", ("all images in their own depth,", "memory-mapped, under their fingerprint"), "disk"),
    Step("Split by patient", ("folds for training, a sealed part for the", "test, written to split.json")),
    Step(
        "PixelTransform",
        ("scales by the largest value, changes", "contrast, resizes, normalises"),
        "model",
        part="For each image and view, once",
    ),
    Step("View", ("a symmetry of the square, or one of a", "finite set of random changes"), "model"),
    Step("Frozen stages", ("of the pretrained backbone, below the", "first stage that trains"), "model"),
    Step(
        "Store of features", ("half precision, one file a view, named by", "all that it depends on"), "disk"
    ),
    Step(
        "Trained stages and head",
        ("one model a fold, all folds side by side", "or one after the other"),
        "model",
        part="For each fold and epoch",
    ),
    Step("Averages", ("over views, fold models and members of", "the ensemble"), "model"),
    Step("Calibrated probability", ("and the threshold that was chosen", "out of fold"), "model"),
)
WAY_OF_A_TRIAL: Final = (
    Step("SearchRequest", ("options as typed, from a file, or from", "the recipes that are named")),
    Step("Preflight", ("reads the data, cuts the split, measures", "what fits this machine and this time")),
    Step("Run folder", ("search.yaml and split.json", "say what will be done"), "disk"),
    Step("Study", ("Optuna, or a first point, proposes", "a TrialSpec"), part="For each trial"),
    Step(
        "TrialManager and Ray backend",
        ("give it to a worker, with the CPUs and the", "share of a GPU that it needs"),
    ),
    Step(
        "Worker", ("opens the stored features and trains", "every fold for one epoch"), part="For each epoch"
    ),
    Step("Go on?", ("value of the metric; the pruner, patience,", "collapse and the time decide")),
    Step(
        "Record",
        ("oof.npz and weights, then record.json:", "where it lies, the trial is whole"),
        "disk",
        part="When the trial has ended",
    ),
    Step(
        "Leaderboard and ensembles",
        ("from the predictions of all trials", "out of fold, with intervals"),
        part="When the search has ended",
    ),
    Step(
        "Test part and bundle",
        ("opened and logged; model.onnx, compared", "with PyTorch before it is kept"),
        "disk",
    ),
)


def way_of_an_image() -> str:
    """From a file to a probability: what is computed once, what is kept, what lies in the exported file."""
    return _drawn("The way of an image", WAY_OF_AN_IMAGE, (Back(8, 7, "read by every fold, epoch, trial"),))


def way_of_a_trial() -> str:
    """From a request to a bundle: what is decided where, and what is written when."""
    backs = (Back(6, 5, "next epoch"), Back(7, 3, "its outcome is told; the next trial"))
    return _drawn("The way of a request and of its trials", WAY_OF_A_TRIAL, backs)


DIAGRAMS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {"way-of-an-image.svg": way_of_an_image, "way-of-a-trial.svg": way_of_a_trial}
)


def _drawn(title: str, steps: tuple[Step, ...], backs: tuple[Back, ...]) -> str:
    tops, height = _placed(steps)
    legend = height + 6
    body = [
        *(line for step, top in zip(steps, tops, strict=True) for line in _box(step, top)),
        *(_down(_bottom(step, top), end) for step, top, end in zip(steps, tops, tops[1:], strict=False)),
        *(line for lane, back in enumerate(backs) for line in _arrow_back(back, lane, steps, tops)),
        *_legend(steps, legend),
    ]
    total = legend + 34
    described = "; ".join(f"{step.title}: {' '.join(step.lines)}" for step in steps)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{total}" '
            f'viewBox="0 0 {_WIDTH} {total}" role="img" aria-labelledby="title description">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="description">{escape(described)}</desc>',
            f"<style>\n{_STYLE}\n</style>",
            f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{total - 1}" rx="8"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def _placed(steps: tuple[Step, ...]) -> tuple[list[int], int]:
    """Upper edge of each step, and the height of all."""
    tops, y = [], _EDGE
    for index, step in enumerate(steps):
        if index:
            y += _GAP
        if step.part:
            y += _LINE + 2
        tops.append(y)
        y += _height(step)
    return tops, y


def _height(step: Step) -> int:
    return 2 * _PAD + _TITLE + _LINE * len(step.lines)


def _bottom(step: Step, top: int) -> int:
    return top + _height(step)


def _box(step: Step, top: int) -> list[str]:
    too_long = [line for line in step.lines if len(line) > _LONGEST]
    if too_long:
        raise ValueError(f"a line must have at most {_LONGEST} letters, found {too_long[0]!r}; break it")
    baseline = top + _PAD + 12
    lines = [
        f'<rect class="{step.kind}" x="{_EDGE}" y="{top}" width="{_BOX}" height="{_height(step)}" rx="5"/>',
        f'<text class="title" x="{_EDGE + 12}" y="{baseline}">{escape(step.title)}</text>',
    ]
    for number, line in enumerate(step.lines):
        y = baseline + _TITLE + _LINE * number
        lines.append(f'<text x="{_EDGE + 12}" y="{y}">{escape(line)}</text>')
    if step.part:
        y = top - (_GAP + _LINE + 2) // 2 + 4
        lines.insert(0, f'<text class="part" x="{_EDGE}" y="{y}">{escape(step.part)}</text>')
    return lines


def _down(start: int, end: int) -> str:
    x = _EDGE + _BOX - 28  # right of the headings of parts
    return f'<path class="arrow" d="M{x} {start + 2}V{end - 7}"/>{_head(x, end - 1, "down")}'


def _arrow_back(back: Back, lane: int, steps: tuple[Step, ...], tops: list[int]) -> list[str]:
    """An arrow right of the steps, with its words along it."""
    right, x = _EDGE + _BOX, _EDGE + _BOX + 13 + 21 * lane
    start = tops[back.leaves] + _height(steps[back.leaves]) // 2
    end = tops[back.reaches] + _height(steps[back.reaches]) // 2
    middle = (start + end) // 2
    return [
        f'<path class="arrow" d="M{right} {start}H{x}V{end}H{right + 7}"/>{_head(right + 1, end, "left")}',
        f'<text text-anchor="middle" transform="translate({x + 12} {middle}) rotate(-90)">'
        f"{escape(back.words)}</text>",
    ]


def _head(x: int, y: int, way: Literal["down", "left"]) -> str:
    back = ((x - 4, y - 7), (x + 4, y - 7)) if way == "down" else ((x + 7, y - 4), (x + 7, y + 4))
    points = " ".join(f"{across},{along}" for across, along in (*back, (x, y)))
    return f'<polygon class="head" points="{points}"/>'


def _legend(steps: tuple[Step, ...], top: int) -> list[str]:
    words = {"disk": "kept as files", "model": "inside model.onnx too"}
    lines, x = [], _EDGE
    for kind in ("disk", "model"):
        if any(step.kind == kind for step in steps):
            lines += [
                f'<rect class="{kind}" x="{x}" y="{top + 8}" width="14" height="11" rx="2"/>',
                f'<text x="{x + 20}" y="{top + 18}">{words[kind]}</text>',
            ]
            x += 126
    return lines
