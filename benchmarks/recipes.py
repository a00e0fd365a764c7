"""Run of every recipe of the catalogue for one epoch on small data, to see that it works and what it costs.

    python -m benchmarks.recipes [--recipe ID] [--task TASK] [--share N [--drawn-by TEXT]] [--json FILE]

It uses synthetic patches in the recipe's own size and channels, one validation part, and random weights where
pretrained ones are missing: figures are costs, not scores. Memory is the peak of the process beyond that at
its start. If a recipe cannot run, the command fails. Ensembles run their members, then the fit.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.recipe_runs import Effort, Kitchen, Run, split_for
from results.ensembles.members import align
from results.ensembles.methods import fit
from search_spaces.recipes import RECIPES, Recipe, recipe_named
from trainables.config.tasks import task_named
from trainables.data.patches import PatchSet, RawPatches, store_patch_set
from trainables.data.phantom import make_phantom
from trainables.data.sources import load_patch_set

_MIB: Final = 2**20
_PATIENTS: Final = 12  # enough images for the recipes with 30 nearest neighbours
_TASKS_OF_THEIR_OWN: Final = ("idc", "healthy_sick")


def main() -> None:
    """Run and print; exits with 1 if a recipe failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", help="this one only")
    parser.add_argument("--task", help="recipes of this task only")
    parser.add_argument("--share", type=int, default=1, metavar="N", help="one in N of the recipes")
    parser.add_argument("--drawn-by", default="", metavar="TEXT", help="another text draws another share")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    chosen = [
        recipe
        for recipe in RECIPES
        if arguments.recipe in (None, recipe.name) and arguments.task in (None, recipe.task)
    ]
    if not chosen:
        sys.exit(f"no recipe {arguments.recipe or ''} of task {arguments.task or 'any'}")
    chosen = drawn(chosen, arguments.share, arguments.drawn_by)
    with tempfile.TemporaryDirectory() as folder:
        rows = _run_all(chosen, Path(folder))
    Console(highlight=False).print(_table(rows))
    failed = [row for row in rows if row["error"]]
    for row in failed:
        print(f"{row['recipe']} ({row['task']}) failed: {row['error']}", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{len(rows)} recipes, {len(failed)} failed, {sum(row['seconds'] for row in rows):.0f} s")
    sys.exit(1 if failed else 0)


def drawn(recipes: Sequence[Recipe], share: int, text: str) -> list[Recipe]:
    """Return one in so many recipes, at least one; the same for the same text on every machine.

    Args:
        recipes: Recipes, at least one.
        share: One in how many, at least 1.
        text: What decides which.
    """
    by_place = sorted(recipes, key=lambda one: zlib.crc32(f"{text} {one.task} {one.name}".encode()))
    return by_place[: -(-len(by_place) // share)]


def _run_all(recipes: list[Recipe], folder: Path) -> list[dict[str, Any]]:
    kitchen = Kitchen(folder / "store", weights_dir=None)
    sets: dict[str, PatchSet] = {}
    rows = []
    for recipe in recipes:
        kind = recipe.task if recipe.task in (*_TASKS_OF_THEIR_OWN, "wisconsin") else "phantom"
        if kind not in sets:
            sets[kind] = _small_data(kind, folder)
        rows.append(_run(recipe, sets[kind], kitchen))
        row = rows[-1]
        print(f"{row['recipe']:<28} {row['task']:<19} {row['seconds']:6.1f} s", file=sys.stderr)
    return rows


def _run(recipe: Recipe, patch_set: PatchSet, kitchen: Kitchen) -> dict[str, Any]:
    begun = time.monotonic()
    row: dict[str, Any] = {"recipe": recipe.name, "task": recipe.task, "error": ""}
    try:
        runs = _runs(recipe, patch_set, kitchen)
        if recipe.method:
            members = align({number: run.predictions for number, run in enumerate(runs)})
            fit(recipe.method, members, seed=0)
    except Exception as error:  # any error is a failure of the recipe
        row["error"] = f"{error.__class__.__name__}: {error}"
        traceback.print_exc()
        runs = []
    return row | {
        "points": len(runs),
        "parameters": max((run.parameters or 0 for run in runs), default=0),
        "peak_mib": max(((run.peak_bytes or 0) / _MIB for run in runs), default=0.0),
        "seconds": time.monotonic() - begun,
    }


def _runs(recipe: Recipe, patch_set: PatchSet, kitchen: Kitchen) -> list[Run]:
    parts = [recipe_named(name, recipe.task) for name in recipe.members] or [recipe]
    split = split_for(recipe, patch_set, is_small=True)
    return [
        kitchen.run(part, settings, patch_set, split, Effort(epochs=1))
        for part in parts
        for settings in part.points
    ]


def _small_data(kind: str, folder: Path) -> PatchSet:
    if kind == "wisconsin":
        return load_patch_set("wisconsin", task=task_named("wisconsin"), label_codes=None, store=folder)[0]
    phantom = make_phantom(patients=_PATIENTS, lesions_per_patient=2, size_px=50 if kind == "idc" else 150)
    if kind == "phantom":
        return store_patch_set(phantom, folder / "data")
    images = (phantom.images.astype(np.uint16) >> 8).astype(np.uint8)
    raw = RawPatches(
        images=np.stack([images] * 3, axis=-1) if kind == "idc" else images,
        labels=(phantom.labels > 0).astype(np.int64),
        label_codes="task",
        patients=phantom.patients,
        source=f"phantom as {kind}",
        is_synthetic=True,
    )
    return store_patch_set(raw, folder / "data")


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("recipe", no_wrap=True)
    for header in ("points", "parameters", "memory", "time"):
        table.add_column(header, justify="right", no_wrap=True)
    task = ""
    for row in rows:
        if row["task"] != task:
            task = row["task"]
            table.add_section()
            table.add_row(f"[bold]{task}[/bold]")
        table.add_row(
            row["recipe"],
            str(row["points"]) if not row["error"] else "failed",
            f"{row['parameters']:,}" if row["parameters"] else "-",
            f"{row['peak_mib']:,.0f} MiB",
            f"{row['seconds']:.1f} s",
        )
    return table


if __name__ == "__main__":
    main()
