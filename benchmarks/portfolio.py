"""Results of a fixed list of configurations on many sets, and the list of first points that they teach.

    python -m benchmarks.portfolio run DATA --work FOLDER [--configurations 200] [--images 300]
    python -m benchmarks.portfolio extend DATA --work FOLDER
    python -m benchmarks.portfolio rates DATA --work FOLDER
    python -m benchmarks.portfolio choose
    python -m benchmarks.portfolio learn

DATA is the folder of real images and weights. `run` draws configurations of frozen nets from the space of a
search, eleven of twelve with a closed-form head, and trains each on every set: four folds by patient, at most
so many images of whole patients. What has been trained stays in the folder and is not repeated. It ends by
writing the table that `orchestrator.simulation` replays. `extend` adds to that table what is written by hand
here and is not in it yet. `choose` reads that table and writes the points that a search tries first,
`search_spaces/recipes/portfolio.json`: greedily, each point is the one that lowers the regret most, over all
sets. `rates` trains linear and hidden heads at five learning rates of each optimiser, and writes a table of
its own. `learn` reads both tables and writes `search_spaces/learned.json`, ranges of numbers that hold all
that was ever good, and `search_spaces/tried.json`, how good each configuration is likely to be. Both take
`--without SET`, for a search of that set which knows nothing of it.
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna

from benchmarks.portfolio_lessons import choose, learn
from benchmarks.samplers import Trainer
from cluster.background import KnownConnection
from orchestrator.preflight.this_machine import this_machine
from orchestrator.reporting.compute_savings import count_images
from orchestrator.request import SearchRequest
from orchestrator.simulation.table import (
    PACKAGED,
    PACKAGED_RATES,
    ResultTable,
    Trajectory,
    packaged_table,
    write_table,
)
from orchestrator.tuning.setup import prepare_search
from results.run.run_folder import RunFolder
from results.run.versions import package_versions
from search_spaces.closed_form import ONCE
from search_spaces.context import SpaceContext
from search_spaces.image_classifier import LEARNING_RATES
from search_spaces.registry import Space, space_named
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig, decode, flatten
from trainables.data.patches import PatchSet, select_rows
from trainables.data.sources import load_patch_set
from trainables.data.split_record import read_split


def _closed(backbone: str, cut: str, name: str, **own: Any) -> dict[str, Any]:
    """Settings of a closed-form head; `also` are further taps, others are settings of the head."""
    settings = {"model.backbone": backbone, "model.cut": cut, "model.also": own.pop("also", "none")}
    settings["model.head.pooling"] = own.pop("pooling", "gap")
    head = {f"classical.{setting}": value for setting, value in own.items()}
    return {**settings, "classical.name": name, "classical.standardize": True, **ONCE, **head}


def _trained(cut: str, optimizer: str, lr: float, **own: Any) -> dict[str, Any]:
    """Settings of a small trained head on averaged features of EfficientNet-Lite0, with more contrast."""
    settings = {"model.backbone": "efficientnet_lite0", "model.cut": cut, "input.contrast": 1.5}
    settings |= {"model.head.hidden": [64], "model.head.batch_norm": True, "model.head.output": "softmax"}
    settings |= {
        "training.augmentation": "flips",
        "training.average_views": False,
        "training.sampling": "over",
    }
    settings |= {
        "optimizer.schedule": "plateau",
        "optimizer.weight_decay": 0.0025,
        "optimizer.step_epochs": 3,
    }
    return {**settings, "optimizer.name": optimizer, "optimizer.lr": lr, **own}


_RATES: Final = 5  # of each optimiser, from end to end of its range in the space
_RATED: Final = {
    "model.backbone": "efficientnet_lite0",
    "training.epochs": 12,
    "training.augmentation": "none",
    "training.average_views": False,
    "training.class_weight": "balanced",
}
FOLDS: Final = 4
EPOCHS: Final = 12
_PATIENTS: Final = 20  # of a set, at least, where each has many images
_CLOSED_FORM: Final = 0.92  # share of the configurations
_COSTLY: Final = ("vgg16",)  # nets whose features are taken in one view at one contrast, for their time


_LITE0_LEVELS: Final = "efficientnet_lite0/top,efficientnet_lite0/top+1,efficientnet_lite0/top+2"
_ALL_LITE0: Final = f"{_LITE0_LEVELS.partition(',')[2]},efficientnet_lite0/top+3"
_STATISTICS: Final = "intensity/top,texture/top"
_LITE0_AND_VGG16: Final = f"{_LITE0_LEVELS},vgg16/top,vgg16/top+1"
_BY_HAND: Final[tuple[dict[str, Any], ...]] = (
    # What one would write by hand, besides what is drawn.
    _closed("efficientnet_lite0", "top+1", "logistic", c=0.01),
    _closed("efficientnet_lite0", "top", "logistic", also=_LITE0_LEVELS.partition(",")[2], c=1e-3),
    _closed("efficientnet_lite0", "top", "logistic", also=_LITE0_LEVELS.partition(",")[2], c=0.1, pca=64),
    _closed("efficientnet_lite0", "top", "lda", also=_LITE0_LEVELS.partition(",")[2]),
    _closed("efficientnet_lite0", "top+2", "lda"),
    _closed("efficientnet_lite0", "top+1", "kernel_logistic", c=10.0, gamma=1.0, pca=64),
    _closed("efficientnet_lite0", "top+3", "logistic", c=0.01),
    _closed("efficientnet_lite0", "top+3", "lda"),
    _closed("efficientnet_lite0", "top+3", "logistic", c=0.01, pooling="flatten"),
    _closed("efficientnet_lite0", "top+3", "logistic", also=_STATISTICS, c=0.1, pca=64, pooling="flatten"),
    _closed("efficientnet_lite0", "top+2", "logistic", also=_STATISTICS, c=0.1, pca=64, pooling="flatten"),
    _closed("efficientnet_lite0", "top+3", "logistic", also=_STATISTICS, c=0.01),
    _closed("efficientnet_lite0", "top", "logistic", also=_ALL_LITE0, c=1e-3),
    _closed("efficientnet_lite0", "top", "lda", also=_ALL_LITE0),
    _closed("vgg16", "top+1", "logistic", c=0.01),
    _closed("vgg16", "top+1", "lda"),
    _closed("vgg16", "top+2", "logistic", also=_LITE0_AND_VGG16, c=1e-3),
    _closed("vgg16", "top+2", "logistic", also=_LITE0_AND_VGG16, c=1e-4),
    _closed("vgg16", "top+2", "logistic", also=_LITE0_AND_VGG16, c=0.1, pca=64),
    _closed("vgg16", "top+2", "lda", also=_LITE0_AND_VGG16),
    _closed("vgg16", "top+2", "kernel_logistic", also=_LITE0_AND_VGG16, c=10.0, gamma=1.0, pca=64),
    {
        "model.backbone": "efficientnet_lite0",
        "model.head.hidden": [256],
        "model.head.dropout": 0.5,
        "optimizer.lr": 5e-4,
        "optimizer.schedule": "cosine",
        "training.augmentation": "d4",
        "training.average_views": True,
        "training.class_weight": "balanced",
    },
    # Of the kind that was best on patches in searches of two minutes.
    _trained("top", "sgd", 0.06, **{"optimizer.momentum": 0.75}),
    _trained("top+1", "sgd", 0.06, **{"optimizer.momentum": 0.75}),
    _trained("top+2", "sgd", 0.06, **{"optimizer.momentum": 0.75}),
    _trained("top", "adam", 1e-3),
    _trained("top+1", "adam", 1e-3),
)


@dataclass(frozen=True, slots=True)
class Material:
    """A set of images with its question.

    Attributes:
        task: Name of the task.
        data: Path below the folder of real data, or a phantom.
        label_codes: What label numbers mean; None finds out.
    """

    task: str
    data: str
    label_codes: Any = None

    def location(self, data: Path) -> str:
        """Return what `--data` is given."""
        return self.data if self.data.startswith("phantom") else str(data / self.data)


SETS: Final = {
    "infn": Material("benign_malignant", "infn_mass_patches_150.npz", "pisa"),
    "films": Material("benign_malignant", "ddsm_mass_films_227.npz", "task"),
    "idc": Material("idc", "idc"),
    "mias": Material("normal_abnormal", "mias_pisa_layout"),
    "phantom-0.3": Material("benign_malignant", "phantom:subtlety=0.3,seed=11"),
    "phantom-0.5": Material("benign_malignant", "phantom:subtlety=0.5,seed=12"),
    "phantom-0.7": Material("mass_calcification", "phantom:subtlety=0.7,seed=13"),
    "phantom-0.9": Material("normal_abnormal", "phantom:subtlety=0.9,seed=14,patients=40"),
}


def configurations(space: Space, context: SpaceContext, count: int) -> list[TrialConfig]:
    """Draw configurations with a frozen net, eleven of twelve with a closed-form head.

    Args:
        space: Space of the task.
        context: Facts of a search of patches.
        count: Number of configurations, besides some that are written by hand.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
    closed, trained = round(_CLOSED_FORM * count), count - round(_CLOSED_FORM * count)
    kept: dict[bool, list[TrialConfig]] = {True: [], False: []}
    while len(kept[True]) < closed or len(kept[False]) < trained:
        config = space.configure(study.ask(), context, {})
        is_closed = config.classical.name != "none"
        if is_possible(config) and len(kept[is_closed]) < (closed if is_closed else trained):
            kept[is_closed].append(config)
    return [*written_by_hand(), *kept[True], *kept[False]]


def written_by_hand() -> list[TrialConfig]:
    """Return the configurations that one would write by hand."""
    return [decode({"training.epochs": EPOCHS} | own) for own in _BY_HAND]


def is_possible(config: TrialConfig) -> bool:
    """Tell whether a configuration is frozen, and cheap enough to be trained on every set."""
    if config.model.trained_stages != 0 or config.model.channels != "replicate":
        return False
    flat = flatten(config.model_dump(mode="json"))
    nets = f"{config.model.backbone},{flat['model.also']}"
    plain = (config.input.contrast, config.training.augmentation) == (1.0, "none")
    return plain or not any(net in nets for net in _COSTLY)


def frozen_only(context: SpaceContext) -> SpaceContext:
    """Return the facts of a search in which no stage of a net trains, as in the table."""
    pretrained = tuple(name for name in context.backbones if name not in context.from_scratch)
    none: dict[str, Any] = {"from_scratch": frozenset(), "fine_tunes": dict.fromkeys(context.fine_tunes, ())}
    return context.model_copy(
        update={**none, "backbones": pretrained, "adapts_channels": frozenset(), "has_free_form": False}
    )


def smaller(patch_set: PatchSet, task: str, images: int) -> dict[str, Any]:
    """Return arrays of at most so many images, of whole patients unless these have many."""
    chosen, random = select_rows(patch_set, task_named(task)), np.random.default_rng(0)
    order = random.permutation(np.unique(chosen.groups))
    own = [
        random.permutation(np.flatnonzero(chosen.groups == group))[: images // _PATIENTS] for group in order
    ]
    sizes = np.cumsum([len(rows) for rows in own])
    kept = np.sort(np.concatenate(own[: max(1, int((sizes <= images).sum()))]))
    rows = chosen.rows[kept]
    return {
        "images": np.asarray(patch_set.images[rows]),
        "labels": chosen.labels[kept],
        "patient": chosen.groups[kept].astype(np.str_),
    }


def rate_configurations() -> list[TrialConfig]:
    """Return heads on one frozen net that differ in optimiser, learning rate and hidden layer alone."""
    found = []
    for optimizer, (low, high) in LEARNING_RATES.items():
        for rate in np.geomspace(low, high, _RATES):
            for hidden in ("none", "256"):
                settings = {"optimizer.name": optimizer, "optimizer.lr": float(f"{rate:.3g}")}
                found.append(decode({**_RATED, **settings, "model.head.hidden": hidden}))
    return found


def prepared(name: str, data: Path, work: Path, images: int) -> RunFolder:
    """Return the run folder of a set, with its images, split and space."""
    material, run = SETS[name], RunFolder(work / "runs" / SETS[name].task / name)
    if not run.search_file.exists():
        file = work / f"{name}.npz"
        patch_set, _ = load_patch_set(
            material.location(data),
            task=task_named(material.task),
            label_codes=material.label_codes,
            store=work / "whole",
        )
        np.savez(file, **smaller(patch_set, material.task, images))
        request = SearchRequest(
            task=material.task,
            data=str(file),
            label_codes="task",
            max_value=patch_set.max_value,
            name=name,
            runs=work / "runs",
            store=work / "store",
            weights_dir=data / "weights",
            may_download=False,
            folds=FOLDS,
            test_share=0.0,
            epochs=EPOCHS,
            trial_minutes=10.0,
        )
        prepare_search(request, KnownConnection(this_machine()), lambda message: None)
    return run


def trained(run: RunFolder, configs: Sequence[TrialConfig]) -> Iterator[Trajectory | None]:
    """Train configurations on a set; None for one that failed there."""
    trainer = Trainer(run)
    for config in configs:
        epochs, record, _ = trainer.trained(config)
        is_whole = record.state == "complete" and len(epochs) > 0
        yield (
            Trajectory(
                folds=tuple(epoch.folds for epoch in epochs),
                seconds=tuple(epoch.seconds for epoch in epochs),
                value=record.scored_value,
            )
            if is_whole
            else None
        )


def run_all(data: Path, work: Path, count: int, images: int, sets: Sequence[str]) -> None:
    """Train everything and write the table."""
    context, space = _first_facts(data, work, images)
    configs = configurations(space, context, count)
    command = f"python -m benchmarks.portfolio run DATA --configurations {count} --images {images}"
    _write_all(configs, data, work, images, sets, command, PACKAGED)


def extend(data: Path, work: Path, images: int) -> None:
    """Train what is written by hand and lacks in the packaged table on each of its sets, and add it."""
    table = packaged_table()
    known = [dict(own) for own in table.settings]
    configs = [config for config in written_by_hand() if _settings_of([config])[0] not in known]
    more = dict(_on_sets(configs, data, work, images, list(table.sets)))
    wider = replace(
        table,
        settings=(*table.settings, *_settings_of(configs)),
        sets={name: (*found, *more[name]) for name, found in table.sets.items()},
        fresh_stores=(*table.fresh_stores, len(table.settings)),
        made={**table.made, "extended": f"python -m benchmarks.portfolio extend DATA --images {images}"},
    )
    write_table(wider, PACKAGED)


def run_rates(data: Path, work: Path, images: int, sets: Sequence[str]) -> None:
    """Train heads at all learning rates and write their table."""
    command = f"python -m benchmarks.portfolio rates DATA --images {images} --sets " + " ".join(sets)
    _write_all(rate_configurations(), data, work, images, sets, command, PACKAGED_RATES)


def _first_facts(data: Path, work: Path, images: int) -> tuple[SpaceContext, Space]:
    """Facts and space of a search of patches that has learned nothing yet."""
    work.mkdir(parents=True, exist_ok=True)
    search = prepared("infn", data, work, images).search()
    context = SpaceContext.model_validate(search.space_context)
    untaught = context.model_copy(update={"ranges": {}})
    return untaught, space_named(search.request.space_name)


def _write_all(
    configs: Sequence[TrialConfig],
    data: Path,
    work: Path,
    images: int,
    sets: Sequence[str],
    command: str,
    path: Path,
) -> None:
    """Train configurations on sets, and write the table after each set."""
    context, space = _first_facts(data, work, images)
    made = {
        "command": command,
        "versions": {name: package_versions()[name] for name in ("torch", "scikit-learn", "optuna", "numpy")},
    }
    frozen, found = frozen_only(context).model_dump(mode="json"), dict[str, tuple[Trajectory | None, ...]]()
    images_trained = dict[str, int]()
    for name, own in _on_sets(configs, data, work, images, sets):
        found[name] = own
        images_trained[name] = _images_trained(prepared(name, data, work, images))
        table = ResultTable(
            _settings_of(configs), found, space.name, frozen, FOLDS, made, trained=images_trained
        )
        write_table(table, path)


def _on_sets(
    configs: Sequence[TrialConfig], data: Path, work: Path, images: int, sets: Sequence[str]
) -> Iterator[tuple[str, tuple[Trajectory | None, ...]]]:
    """Train configurations on sets; yields the name of each set and what was trained there."""
    for name in sets:
        found = tuple(trained(prepared(name, data, work, images), configs))
        best = max((own.value for own in found if own), default=0.0)
        print(f"{name}: {sum(own is not None for own in found)} trained, best {best:.3f}", flush=True)
        yield name, found


def _images_trained(run: RunFolder) -> int:
    """Images that all folds of an epoch train on, counted once a fold."""
    return count_images(read_split(run.split_file), run.search().classes).trained


def _settings_of(configs: Sequence[TrialConfig]) -> tuple[dict[str, Any], ...]:
    """Settings of configurations as a table has them."""
    return tuple(flatten(config.model_dump(mode="json", exclude_defaults=True)) for config in configs)


def main() -> None:
    """Run or choose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    running = verbs.add_parser("run", help="train, and write the table")
    running.add_argument("--configurations", type=int, default=200)
    extending = verbs.add_parser(
        "extend", help="train what is written here and lacks in the table, and add it"
    )
    rating = verbs.add_parser("rates", help="train heads at many learning rates, and write their table")
    for verb in (running, extending, rating):
        verb.add_argument("data", type=Path, help="folder of real images and weights")
        verb.add_argument("--work", type=Path, required=True, help="folder of what was trained; kept")
        verb.add_argument("--images", type=int, default=300, help="of a set, at most (default: 300)")
        if verb is not extending:
            verb.add_argument("--sets", nargs="+", choices=tuple(SETS), default=tuple(SETS))
    choosing = verbs.add_parser("choose", help="choose the points from the table")
    learning = verbs.add_parser("learn", help="write what else the tables teach")
    for verb in (choosing, learning):
        verb.add_argument("--without", metavar="SET", choices=tuple(SETS), help="leave a set out")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger().setLevel(logging.ERROR)
    if arguments.verb == "choose":
        choose(arguments.without)
    elif arguments.verb == "learn":
        learn(arguments.without)
    elif arguments.verb == "extend":
        extend(arguments.data, arguments.work, arguments.images)
    elif arguments.verb == "rates":
        run_rates(arguments.data, arguments.work, arguments.images, arguments.sets)
    else:
        run_all(arguments.data, arguments.work, arguments.configurations, arguments.images, arguments.sets)


if __name__ == "__main__":
    main()
