"""Every experiment of the five source systems on real images; it writes the table of docs/sources.md.

    python -m benchmarks.sources DATA [--recipe ID] [--seconds 45] [--json FILE] [--write docs/sources.md]

DATA is the folder of real images and weights (its README describes them). The sources' own images are not in
it, so each recipe runs on the most similar ones; splits are by patient, whatever the source did.
Heads on frozen features train as long as the source's. Nets that train from pixels do so at the size of the
images and for `--seconds` at most, since this is one CPU core; the row says how many epochs that were. VGG16
stands in for VGG19, and EfficientNet-Lite0 for other backbones whose weights are not there. A sweep of many
points is represented by four of them. `--json` is read first, so that an interrupted command goes on.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.patient_bootstrap import bootstrap_interval
from benchmarks.recipe_runs import Effort, Kitchen, Run, split_for
from results.ensembles.members import align
from results.ensembles.nested import nested_evaluation
from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval
from search_spaces.recipes import RECIPES, Recipe, ReportedScore, recipe_named
from trainables.config.tasks import LabelCodes, task_named
from trainables.data.patches import PatchSet, RawPatches, store_patch_set
from trainables.data.sources import load_patch_set

_POINTS: Final = 4  # number of points of a sweep that are run
_SHARE: Final = 0.2  # share of the patients that IDC recipes train on
_STAND_INS: Final = {
    "vgg19": "vgg16",
    **dict.fromkeys(("resnet50", "inception_v3", "mobilenet_v1", "nasnet"), "efficientnet_lite0"),
}
_FILM_PX: Final = 299
_DATA: Final = {
    "benign_malignant": "INFN pairs",
    "normal_abnormal": "MIAS pairs",
    "mass_calcification": "MIAS pairs",
    "five_class": "MIAS pairs",
    "idc": "IDC",
    "healthy_sick": "MIAS films",
    "wisconsin": "Wisconsin",
}
_OURS: Final = "frozen-lite0"  # our own recipe, not one of a source
_NOT_MEASURED: Final = {"ours": "not measured", "on": "-", "differs": "-"}
_PAGE: Final = "<!-- table -->"


def main() -> None:
    """Run the recipes without figures so far, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real images and weights")
    parser.add_argument("--recipe", help="this one only")
    parser.add_argument("--task", help="recipes of this task only")
    parser.add_argument("--seconds", type=float, default=45.0, help="for nets from pixels (default: 45)")
    parser.add_argument("--store", type=Path, help="keep images and features here (default: nowhere)")
    parser.add_argument("--json", type=Path, help="figures so far; new ones are added")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        found = json.loads(arguments.json.read_text())
    with tempfile.TemporaryDirectory() as folder:
        table = Table(arguments.data, arguments.store or Path(folder), seconds=arguments.seconds)
        for recipe in RECIPES:
            key = f"{recipe.name} {recipe.task}"
            is_asked = arguments.recipe in (None, recipe.name) and arguments.task in (None, recipe.task)
            if recipe.name == _OURS or key in found or not is_asked:
                continue
            begun = time.monotonic()
            found[key] = table.measure(recipe)
            print(f"{key}: {found[key]['ours']} ({time.monotonic() - begun:.0f} s)", flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.write:
        before, mark, _ = arguments.write.read_text().partition(_PAGE)
        arguments.write.write_text(before + mark + "\n\n" + as_markdown(found))


class Table:
    """Measures recipes on the images that are most similar to those of their sources.

    Args:
        data: Folder of real images and weights.
        folder: Folder for stored images and features.
        seconds: Seconds after which no further epoch of a net that trains from pixels begins.
    """

    def __init__(self, data: Path, folder: Path, *, seconds: float) -> None:
        self.data, self.folder, self.seconds = data, folder, seconds
        self.kitchen = Kitchen(folder / "store", weights_dir=data / "weights", stand_ins=_STAND_INS)
        self._sets: dict[str, PatchSet] = {}
        self._runs: dict[tuple[str, str, int], Run] = {}

    def measure(self, recipe: Recipe) -> dict[str, Any]:
        """Run a recipe, or the members of an ensemble; returns the measured cells of its table row."""
        patch_set = self._patch_set(recipe)
        if recipe.members:
            runs = [self._run(recipe_named(name, recipe.task), 0) for name in recipe.members]
            ours = self._ensemble(recipe, runs)
        else:
            chosen = np.linspace(0, len(recipe.points) - 1, min(_POINTS, len(recipe.points))).round()
            runs = [self._run(recipe, int(number)) for number in chosen]
            ours = "; ".join(_score(run.predictions, run.best.collapsed) for run in runs)
        return {
            "ours": ours,
            "on": f"{_data_of(recipe)}: {_counted(runs[0].predictions)}",
            "differs": "; ".join(self._differences(recipe, runs)),
            "seconds": round(sum(run.seconds for run in runs), 1),
            "fingerprint": patch_set.fingerprint[:12],
        }

    def _run(self, recipe: Recipe, number: int) -> Run:
        key = (recipe.name, recipe.task, number)
        if key not in self._runs:
            patch_set, settings = self._patch_set(recipe), recipe.points[number]
            trains_stages = settings.get("model.trained_stages", 0) != 0
            seconds = self.seconds if trains_stages else float("inf")
            effort = Effort(fixed_params=self._pins(settings), seconds=seconds)
            split = split_for(recipe, patch_set, is_small=recipe.task == "idc")
            self._runs[key] = self.kitchen.run(recipe, settings, patch_set, split, effort)
        return self._runs[key]

    @staticmethod
    def _pins(settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that save time: images are not enlarged, and grey is copied instead of mapped."""
        fixed_params: dict[str, Any] = {"model.channels": "replicate"}
        if settings["training.augmentation"] == "idc":  # by far the largest data, and the largest networks
            fixed_params |= {"training.augmentation": "none"}
            fixed_params |= (
                {}
                if settings.get("training.train_fraction", 1.0) < 1.0
                else {"training.train_fraction": _SHARE}
            )
        if settings.get("model.weights") == "random":
            fixed_params["input.size_px"] = None
        return fixed_params

    def _ensemble(self, recipe: Recipe, runs: Sequence[Run]) -> str:
        members = align({number: run.predictions for number, run in enumerate(runs)})
        scored = nested_evaluation(members, (recipe.method,), max_members=len(runs), seed=0)
        return f"AUC {scored[-1].auc} nested"

    def _differences(self, recipe: Recipe, runs: Sequence[Run]) -> list[str]:
        said = []
        asked, ran = (recipe.points[0] if recipe.points else {}), runs[0].config
        if asked and ran.model.backbone != asked["model.backbone"]:
            said.append(
                f"{ran.model.backbone} in the place of {asked['model.backbone']}, which has no weights here"
            )
        if ran.training.train_fraction < asked.get("training.train_fraction", 1.0) or recipe.task == "idc":
            said.append(f"{ran.training.train_fraction:.0%} of the training patients, not augmented")
        if asked.get("model.channels") == "conv1x1":
            said.append("grey copied")
        wanted = max((int(point["training.epochs"]) for point in recipe.points), default=0)
        done = max(run.epochs for run in runs)
        if recipe.points and done < wanted and ran.model.trained_stages != 0:
            said.append(f"{done} of {wanted} epochs")
        if asked.get("input.size_px") and ran.input.size_px is None:
            said.append(f"images of their own size, not {asked['input.size_px']} px")
        if len(recipe.points) > _POINTS:
            said.append(f"{_POINTS} of {len(recipe.points)} points")
        if recipe.protocol.is_naive:
            said.append("split by patient, the source's by image")
        return [*said, *([recipe.choice] if recipe.choice else [])]

    def _patch_set(self, recipe: Recipe) -> PatchSet:
        name, task = _data_of(recipe), recipe.task
        if name not in self._sets:
            self._sets[name] = self._loaded(name, task)
        return self._sets[name]

    def _loaded(self, name: str, task: str) -> PatchSet:
        if name == "MIAS films":
            return store_patch_set(_films(self.data / "mini_mias"), self.folder / "data")
        places: dict[str, tuple[str, LabelCodes | None]] = {
            "INFN pairs": (str(self.data / "infn_mass_patches_150.npz"), "pisa"),
            "MIAS pairs": (str(self.data / "mias_pisa_layout"), "pisa"),
            "IDC": (str(self.data / "idc"), None),
            "Wisconsin": ("wisconsin", None),
        }
        runtime, codes = places[name]
        return load_patch_set(runtime, task=task_named(task), label_codes=codes, store=self.folder)[0]


def _stand_ins(recipe: Recipe, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Remark in the table on replaced backbones of an ensemble's members; empty without any."""
    rows = (found.get(f"{name} {recipe.task}") for name in recipe.members)
    replaced = [row["differs"] for row in rows if row and "in the place of" in row["differs"]]
    return f"{len(replaced)} of {len(recipe.members)} members have another backbone" if replaced else ""


def _data_of(recipe: Recipe) -> str:
    """Name of the images that a recipe runs on; only MIAS pairs have both types of finding."""
    return "MIAS pairs" if recipe.type_from else _DATA[recipe.task]


def as_markdown(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The table, one row for each experiment."""
    lines = [
        "| recipe | task | needs | the source's figure | ours | on | what differs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for recipe in RECIPES:
        if recipe.name == _OURS:
            continue
        row = found.get(f"{recipe.name} {recipe.task}", _NOT_MEASURED)
        theirs = "; ".join(_as_text(figure) for figure in recipe.figures[:2]) or "none"
        if recipe.doubt:
            theirs += f" (in doubt: {recipe.doubt})"
        cells = (
            recipe.name,
            recipe.task,
            ", ".join(recipe.needs) or "-",
            theirs,
            row["ours"],
            row["on"],
            "; ".join(filter(None, (_stand_ins(recipe, found), row["differs"]))) or "nothing else",
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _as_text(figure: ReportedScore) -> str:
    interval = figure.interval()
    ends = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    note = f", {figure.note}" if figure.note else ""
    return f"{figure.metric} {figure.value:.3g}{ends} ({figure.part}{note})"


def _score(predictions: OutOfFold, collapsed: Sequence[int]) -> str:
    """AUC and accuracy with their intervals, the share of the majority class, and the collapsed folds."""
    called = predictions.probabilities.argmax(axis=1) == predictions.labels
    accuracy = bootstrap_interval(
        predictions.groups, lambda counts: (counts @ called) / counts.sum(axis=1), seed=0
    )
    majority = np.bincount(predictions.labels).max() / len(predictions.labels)
    said = f"AUC {auc_interval(predictions)}, accuracy {accuracy} (majority {majority:.2f})"
    if collapsed:
        said += f", collapsed in {len(collapsed)} of {len(np.unique(predictions.folds))} folds"
    return said


def _counted(predictions: OutOfFold) -> str:
    folds = len(np.unique(predictions.folds))
    patients = len(np.unique(predictions.groups))
    how = f"{folds} folds" if folds > 1 else "held out once"
    return f"{len(predictions.labels)} of {patients} patients predicted, {how}"


def _films(folder: Path) -> RawPatches:
    """MIAS films without a finding (healthy) and with a malignant one (sick), shrunk."""
    rows = [line.split(",") for line in (folder / "labels.csv").read_text().splitlines()[1:]]
    malignant = {row[0] for row in rows if row[5] == "M"}
    healthy = {row[0] for row in rows if row[4] == "NORM"}
    patients = {row[0]: row[1] for row in rows}
    films = sorted(malignant | healthy)
    return RawPatches(
        images=np.stack([_film(folder / "images_512" / f"{name}.png") for name in films]),
        labels=np.array([int(name in malignant) for name in films]),
        label_codes="task",
        patients=np.array([patients[name] for name in films]),
        source="mini-MIAS films",
    )


def _film(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as film:
        shrunk = film.convert("L").resize((_FILM_PX, _FILM_PX), Image.Resampling.BOX)
    return np.asarray(shrunk, dtype=np.uint8)


if __name__ == "__main__":
    main()
