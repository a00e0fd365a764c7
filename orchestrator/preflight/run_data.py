"""Data, split and runtime of a recorded run, opened again in each worker and after the search."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from results.predictors.start_weights import (
    read_start,
    takes_predicted_type,
    with_type_probabilities,
)
from results.run.feature_limit import features_gb
from results.run.records import SearchRecord
from results.run.registered_objects import require_registered
from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from results.run.source_trials import checked_source
from search_spaces.context import SpaceContext
from trainables.common.errors import WeightsError
from trainables.config.baseline import BASELINE_BACKBONE
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import open_patch_set
from trainables.data.split_record import read_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.registry import backbone_named
from trainables.models.taps import Tap, feature_shapes, taps_to_share
from trainables.models.weights import Inventory, WeightsFile, take_inventory
from trainables.runtime.devices import Device, choose_device
from trainables.runtime.trial_runtime import TrialRuntime, WarmStart

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
def _training_data(
    run: RunFolder, fingerprint: str, store: str, version: _Version, *, with_types: bool
) -> TrainingData:
    patch_set = open_patch_set(Path(store) / "data", fingerprint)
    search = run.search()
    training_data = training_data_of(
        patch_set, search.task_definition, read_split(run.split_file), search.request.unit
    )
    if not with_types or search.type_from is None:
        return training_data
    checked_source(run, search.type_from)
    return with_type_probabilities(training_data, search.type_from)


@functools.lru_cache(maxsize=1)
def _start(run: RunFolder, version: _Version) -> WarmStart | None:
    return read_start(run)


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
    """Check split, weights and earlier trials of a run here, so that no trial fails for want of them.

    Earlier trials are checked where trials take their weights or their predictions: settings that were tried
    first are known without them.

    Raises:
        ConfigError: If the weights of the trial that others start from are gone.
        SplitError: If the split is missing, changed, or of other data.
        WeightsError: If pretrained weights are missing, or not those that the search was started with.
        RunError: If a backbone is missing that the program which started the search had registered, or if a
            trial that others take weights or predictions from is gone, or another run has taken its place.
    """
    require_registered(search, kinds=("backbone", "metric"))
    read_split(run.split_file).check_fingerprint(search.fingerprint)
    _check_weights(_inventory(search), search.weights)
    fixed = search.request.fixed_params
    if fixed.get("model.weights") == "start" or _takes_start(run, None):
        read_start(run)
    types = search.type_from
    if types and (fixed.get("model.type_input") not in ("none", "human") or _takes_type(run, None)):
        checked_source(run, types)
        RunFolder(Path(types.run)).out_of_fold(types.trial)


def _takes_start(run: RunFolder, config: TrialConfig | None) -> bool:
    """Tell whether a trial starts from the weights of an earlier one; None for any that has a record."""
    if config is not None:
        return config.model.weights == "start"
    return any(record.config.get("model.weights") == "start" for record in run.records())


def _takes_type(run: RunFolder, config: TrialConfig | None) -> bool:
    """Tell whether a trial takes the type that an earlier one predicts; None for any that has a record."""
    if config is not None:
        return takes_predicted_type(config)
    kinds = (record.config.get("model.type_input") for record in run.records())
    return any(kind in ("probability", "hard") for kind in kinds)


def open_run_data(
    run: RunFolder, search: SearchRecord, device: Device, config: TrialConfig | None = None
) -> tuple[TrainingData, TrialRuntime]:
    """Open the training data and the runtime of a run; both are kept for the next trial of this process.

    They are opened anew once split or record are other files than before.

    Args:
        run: Folder of the search.
        search: Its request and facts.
        device: Where to compute.
        config: The trial that is trained on them, which alone says what is read of earlier runs; None for any
            trial that the run has a record of.

    Raises:
        OrchestrateError: If something is missing, or another run lies where an earlier one was.
    """
    require_registered(search, kinds=("backbone", "metric"))
    opened = _runtime(run, device, _version(run.search_file))
    start = None
    if search.start_from is not None and _takes_start(run, config):
        start = _start(run, _version(run.search_file, *_files_of(search.start_from)))
    with_types = search.type_from is not None and _takes_type(run, config)
    training_data = _opened_training_data(run, search, with_types=with_types)
    return training_data, dataclasses.replace(opened, start=start, store_gb=features_gb(run, search))


def _files_of(source: SourceTrial) -> tuple[Path, Path]:
    earlier = RunFolder(Path(source.run))
    return earlier.search_file, earlier.record_file(source.trial)


def open_baseline_data(run: RunFolder, search: SearchRecord) -> tuple[TrainingData, TrialRuntime]:
    """Open the training data of a run with a runtime for colour and intensity only, whatever its backbones.

    It computes on the CPU: these statistics are quick, and the GPUs belong to the trials.
    """
    runtime = TrialRuntime(
        Path(search.store),
        choose_device(0.0),
        {BASELINE_BACKBONE: None},
        features=search.request.features,
        store_gb=features_gb(run, search),
        shared_store=search.request.shared_store,
    )
    return _opened_training_data(run, search), runtime


def _opened_training_data(run: RunFolder, search: SearchRecord, *, with_types: bool = False) -> TrainingData:
    files = [run.search_file, run.split_file]
    if with_types and search.type_from is not None:
        files += _files_of(search.type_from)
    return _training_data(run, search.fingerprint, search.store, _version(*files), with_types=with_types)
