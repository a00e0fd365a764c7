"""Data, split and runtime of a recorded run, opened again in each worker and after the search."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from results.predictors.start_weights import read_start, with_type_probabilities
from results.run.records import SearchRecord
from results.run.registered_objects import require_registered
from results.run.run_folder import RunFolder
from search_spaces.context import SpaceContext
from trainables.common.errors import WeightsError
from trainables.config.baseline import BASELINE_BACKBONE
from trainables.data.patches import open_patch_set
from trainables.data.split_record import read_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.features.budget import GB
from trainables.models.registry import backbone_named
from trainables.models.taps import Tap, feature_shapes, taps_to_share
from trainables.models.weights import Inventory, WeightsFile, take_inventory
from trainables.runtime.devices import Device, choose_device
from trainables.runtime.trial_runtime import TrialRuntime

_Version: TypeAlias = tuple[tuple[int, ...], ...]
_Found = TypeVar("_Found")


def _version(*files: Path) -> _Version:
    """Inode, time of the last change and size of files: another run may lie at the path of an earlier one."""
    found: list[tuple[int, ...]] = []
    for file in files:
        try:
            state = file.stat()
        except FileNotFoundError:  # whoever reads it says so
            found.append(())
        else:
            found.append((state.st_ino, state.st_mtime_ns, state.st_size))
    return tuple(found)


@functools.lru_cache(maxsize=2)
def _training_data(run: RunFolder, fingerprint: str, store: str, version: _Version) -> TrainingData:
    patch_set = open_patch_set(Path(store) / "data", fingerprint)
    search = run.search()
    training_data = training_data_of(
        patch_set, search.task_definition, read_split(run.split_file), search.request.unit
    )
    return with_type_probabilities(training_data, search.type_from)


@functools.lru_cache(maxsize=2)
def _runtime(run: RunFolder, device: Device, version: _Version) -> TrialRuntime:
    search = run.search()
    return TrialRuntime(
        Path(search.store),
        device,
        _WeightsOfSearch(search),
        _TapsOfSearch(search.backbones, SpaceContext.model_validate(search.space_context)),
        features=search.request.features,
        store_gb=search.request.store_gb,
        shared_store=search.request.shared_store,
        start=read_start(search),
    )


class _ByBackbone(Mapping[str, _Found]):
    """What a search has of each of its backbones, found out when it is first asked for.

    A trial asks for what its own nets need. Else each worker would read every file of weights first, and
    build every net to know the shapes of its features.
    """

    def __init__(self, backbones: Sequence[str]) -> None:
        self._backbones = tuple(backbones)
        self._known: dict[str, _Found] = {}

    def __getitem__(self, name: str) -> _Found:
        if name not in self._backbones:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._backbones)

    def __len__(self) -> int:
        return len(self._backbones)

    def _find(self, name: str) -> _Found:
        raise NotImplementedError


class _WeightsOfSearch(_ByBackbone[WeightsFile | None]):
    """The files of weights on this machine; each is compared with that of the start when it is asked for."""

    def __init__(self, search: SearchRecord) -> None:
        super().__init__(search.backbones)
        self._search = search

    def _find(self, name: str) -> WeightsFile | None:
        inventory, expected = _inventory(self._search, (name,)), self._search.weights
        _check_weights(inventory, {name: expected[name]} if name in expected else {})
        return inventory.usable[name]


class _TapsOfSearch(_ByBackbone[tuple[Tap, ...]]):
    """The taps that trials of a search may ask for, but of nets that are trained from scratch."""

    def __init__(self, backbones: Sequence[str], context: SpaceContext) -> None:
        super().__init__([name for name in backbones if not backbone_named(name).trains_from_scratch])
        self._context = context

    def _find(self, name: str) -> tuple[Tap, ...]:
        backbone, context = backbone_named(name), self._context
        shapes = feature_shapes(name, backbone.channels or context.image_channels, context.sizes_px[name])
        depths = (0, 1) if context.fine_tunes[name] else (0,)
        return taps_to_share(backbone, shapes, depths=depths)


def _inventory(search: SearchRecord, backbones: tuple[str, ...] | None = None) -> Inventory:
    return take_inventory(
        search.backbones if backbones is None else backbones,
        weights_dir=search.request.weights_dir,
        may_download=False,
        is_random=search.request.fixed_params.get("model.weights") == "random",
    )


def _check_weights(inventory: Inventory, expected: Mapping[str, str]) -> None:
    """Make sure that this machine has the weights the search was started with, and no others."""
    for name, sha256 in expected.items():
        file = inventory.usable.get(name)
        if file is None:
            raise WeightsError(
                f"the weights of {name}, found when the search started, are not here: "
                f"{inventory.left_out.get(name, 'the backbone is unknown')}"
            )
        if file.sha256 != sha256:
            raise WeightsError(f"{file.path} is not the file that the search was started with")


def check_run_data(run: RunFolder, search: SearchRecord) -> None:
    """Check split and weights of a run on this machine, so that no trial fails for want of them.

    Raises:
        SplitError: If the split is missing, changed, or of other data.
        WeightsError: If pretrained weights are missing, or not those that the search was started with.
        RunError: If a backbone is missing that the program which started the search had registered.
    """
    require_registered(search, kinds=("backbone", "metric"))
    read_split(run.split_file).check_fingerprint(search.fingerprint)
    _check_weights(_inventory(search), search.weights)


def open_run_data(run: RunFolder, search: SearchRecord, device: Device) -> tuple[TrainingData, TrialRuntime]:
    """Open the training data and the runtime of a run; both are kept for the next trial of this process.

    They are opened anew once split or record are other files than before.
    """
    require_registered(search, kinds=("backbone", "metric"))
    opened = _runtime(run, device, _version(run.search_file))
    return _opened_training_data(run, search), dataclasses.replace(opened, store_gb=_store_gb(run, search))


def open_baseline_data(run: RunFolder, search: SearchRecord) -> tuple[TrainingData, TrialRuntime]:
    """Open the training data of a run with a runtime for colour and intensity only, whatever its backbones.

    It computes on the CPU: these statistics are quick, and the GPUs belong to the trials.
    """
    runtime = TrialRuntime(
        Path(search.store),
        choose_device(0.0),
        {BASELINE_BACKBONE: None},
        features=search.request.features,
        store_gb=_store_gb(run, search),
        shared_store=search.request.shared_store,
    )
    return _opened_training_data(run, search), runtime


def _opened_training_data(run: RunFolder, search: SearchRecord) -> TrainingData:
    version = _version(run.search_file, run.split_file)
    return _training_data(run, search.fingerprint, search.store, version)


def _store_gb(run: RunFolder, search: SearchRecord) -> float | None:
    """Disk budget of stored features now, by that of the whole search where it has one."""
    asked, limit = search.request.store_gb, run.store_limit()
    if search.request.disk_gb is None or limit is None:
        return asked
    return limit / GB if asked is None else min(asked, limit / GB)
