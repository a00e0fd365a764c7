"""`orchestrate plan`."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from orchestrator.cli import search
from orchestrator.cli.common import add_format
from orchestrator.reporting.console import messages, print_message, print_next, show
from trainables.common.text import clock_text, count_text, size_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.estimate.nested import NestedEstimate
    from orchestrator.estimate.simulation import BackboneEstimate, DataPart, Estimate

_MOST_COLUMNS: Final = 4  # of the table of the data, besides its first; wider ones are turned around

HELP = "say what a search would do and how long it would take here, without running it"
EPILOG = """\
Takes the options of `orchestrate search`: put `plan` in place of `search`.
Measures for some seconds what the backbones cost on this machine, estimates
the cost of points of the space, and simulates searches over them. Starts no
Ray and writes no run folder; data that were not read before are stored, as a
search would do.

examples:
  orchestrate plan benign_malignant
  orchestrate plan benign_malignant --data patches.npz --trials 100 --offline
  orchestrate plan benign_malignant --data patches.npz \\
      --set model.backbone=vgg16 --format json
  orchestrate plan benign_malignant --data patches.npz --outer 5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: those of a search, and how to print."""
    search.add_request(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Plan and print; returns the exit code."""
    import dataclasses
    import functools
    import sys

    from orchestrator.api.search import plan_search
    from orchestrator.request import check_request
    from results.run.storage_url import without_password

    request = search.request_of(arguments)
    check_request(request)
    console = messages()
    print_message(console, "reading the data and measuring what trials cost here ...")
    estimate = plan_search(request, notify=functools.partial(print_message, console))
    show(
        arguments.format,
        table=lambda: plan_table(estimate),
        rows=lambda: dataclasses.asdict(estimate),
        csv=lambda: plan_as_csv(estimate),
    )
    print_next(console, *map(without_password, _search_of(sys.argv[1:])))
    return 0


def _search_of(typed: Sequence[str]) -> list[str]:
    """Return the command of the search that was planned: --format is of the plan alone.

    >>> _search_of(["plan", "idc", "--format=table", "--trials", "5", "--format", "table"])
    ['orchestrate', 'search', 'idc', '--trials', '5']
    """
    words, rest = ["orchestrate", "search"], iter(typed[1:])
    for word in rest:
        name = word.partition("=")[0]
        if len(name) > len("--fo") and "--format".startswith(name):  # argparse takes --form as well
            if name == word:
                next(rest, None)
        else:
            words.append(word)
    return words


def plan_as_csv(plan: "Estimate") -> str:
    """One row a backbone, as in the table; seconds are those of workers. JSON has the rest of the plan."""
    import dataclasses

    from orchestrator.estimate.simulation import BackboneEstimate
    from results.tables import csv_text

    columns = [field.name for field in dataclasses.fields(BackboneEstimate)]
    return csv_text(map(dataclasses.asdict, plan.backbones), columns)


def plan_table(plan: "Estimate") -> "RenderableType":
    """The plan as tables and lines that fit 80 columns."""
    from rich.console import Group

    return Group(_data(plan), "", _backbones(plan), "", _totals(plan))


def _data(plan: "Estimate") -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from results.run.split_labels import marks

    unit = "patients" if plan.is_grouped else "groups"
    before = marks(is_synthetic=plan.is_synthetic, split=plan.split)
    title = Text(
        f"{before}{plan.task} on {plan.source}: {count_text(plan.trials, 'trial')}, none has run", "bold"
    )
    names = {"folds": f"{plan.folds} folds", "test": "sealed for the test"}
    heads = [names.get(part.name, part.name) for part in plan.parts]
    cells = [[*_by_class(part, unit), str(part.all_groups)] for part in plan.parts]
    labels = [*plan.parts[0].images, unit]
    if len(labels) > _MOST_COLUMNS:  # a class a line, so that it fits
        heads, labels, cells = labels, heads, [list(line) for line in zip(*cells, strict=True)]
    table = Table(box=None, pad_edge=False)
    table.add_column("Images")
    for label in labels:
        table.add_column(label, justify="right")
    for head, line in zip(heads, cells, strict=True):
        table.add_row(head, *line)
    return Group(title, "", table)


def _by_class(part: "DataPart", unit: str) -> list[str]:
    return [f"{count} of {part.groups[label]} {unit}" for label, count in part.images.items()]


def _backbones(plan: "Estimate") -> "RenderableType":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("Backbone", no_wrap=True)
    for title in ("Trials", "Keys", "Views", "Warm", "Passes", "Disk", "Frozen", "Train"):
        table.add_column(title, justify="right")
    for backbone in plan.backbones:
        table.add_row(*_backbone_row(backbone))
    return table


def _backbone_row(backbone: "BackboneEstimate") -> list[str]:
    return [
        backbone.backbone,
        f"{backbone.trials:.1f}",
        f"{backbone.keys:.1f}",
        f"{backbone.views:.0f}",
        str(backbone.warm_views),
        f"{backbone.passes:,}",
        size_text(backbone.stored_bytes),
        clock_text(backbone.prefix_seconds),
        clock_text(backbone.training_seconds),
    ]


def _totals(plan: "Estimate") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in _lines(plan):
        table.add_row(title, Text(text))
    return table


def _lines(plan: "Estimate") -> list[tuple[str, str]]:
    from orchestrator.preflight.reasons import reasons_by_backbone

    low, middle, high = (clock_text(seconds) for seconds in plan.seconds)
    reasons = reasons_by_backbone(plan.left_out)
    weights = "; ".join(f"{backbone.backbone}: {backbone.weights}" for backbone in plan.backbones)
    lines = [("weights", weights)]
    lines += [("left out", f"{', '.join(names)}: {reason}") for reason, names in reasons.items()]
    lines += [
        (
            "forward",
            f"{sum(backbone.passes for backbone in plan.backbones):,} images through frozen stages, "
            f"{size_text(sum(backbone.stored_bytes for backbone in plan.backbones))} of disk",
        ),
        ("memory", f"about {size_text(plan.worker_bytes)} a worker, {plan.slots} at once"),
        (
            "work",
            f"frozen stages {clock_text(plan.prefix_seconds)}, training "
            f"{clock_text(plan.training_seconds)} of worker time; with all workers busy each takes "
            f"{plan.crowding:.1f} times as long",
        ),
        ("total", f"about {middle} on {plan.slots} worker(s); 8 of 10 such searches take {low} to {high}"),
        (
            "how sure",
            f"{plan.searches} searches drawn from {plan.priced_points} priced points, {plan.recipes} of them "
            f"recipes, with the pruner {plan.pruner}; the sampler ({plan.sampler}) may turn to cheaper or "
            "dearer ones",
        ),
    ]
    if plan.nested is not None:
        lines.append(("nested", _nested_text(plan.nested)))
    if plan.trials_in_budget < plan.trials:
        lines.append(
            ("budget", f"the time is up after about {plan.trials_in_budget} of {plan.trials} trials")
        )
    return lines


def _nested_text(nested: "NestedEstimate") -> str:
    low, middle, high = (clock_text(seconds) for seconds in nested.seconds)
    return (
        f"the {nested.folds} searches without an outer fold take about {middle} more ({low} to {high}), "
        f"{nested.ratio:.1f} times the worker time of the search: training "
        f"{clock_text(nested.training_seconds)}, features that it has not left in the store "
        f"{clock_text(nested.prefix_seconds)}"
    )
