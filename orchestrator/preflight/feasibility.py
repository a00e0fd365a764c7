"""Models that fit the time budget on this machine, by measurement, so that no trial takes all the time."""

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.reporting.compute_savings import Images
from orchestrator.study.price import Pricing
from search_spaces.context import SpaceContext
from search_spaces.image_classifier import CONTRASTS
from trainables.common.registered import registered
from trainables.common.text import clock_text, count_text
from trainables.config.smaller_forms import smaller_forms
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import PatchSet
from trainables.models.families.source_000_nets import SCRATCH4
from trainables.models.registry import backbone_named
from trainables.models.table import TABLE
from trainables.models.taps import LARGEST_SHARED_MAP, feature_shapes
from trainables.models.weights import Inventory
from trainables.preprocessing.transforms import default_side
from trainables.runtime.devices import Device, free_cached
from trainables.training.cost import Cost
from trainables.training.cost_probe import measure_cost, trial_seconds
from trainables.training.known_costs import KnownCosts

VIEWS: Final = 8  # symmetries of the square, the largest set that the spaces draw from
FURTHER_SIZES: Final = (
    112,
    150,
    224,
)  # sides in pixels that closed-form heads may choose besides the usual one
SMALL_PX: Final = 80  # images up to this side are enlarged for closed-form heads
# Longest time of a pass at another side on one worker, in longest times of a trial. Costs are upper bounds:
# passes that are worth an export take half of the time.
_SIDE_PASSES: Final = 3.0
_SMALL_SET: Final = 400  # images up to which eight more random views are worth their forward passes on a CPU


@dataclass(frozen=True, slots=True)
class TrialBudget:
    """Size of a trial and the time that it may take.

    Attributes:
        images: Number of images of the task, the test part included; features are computed for all of them.
        training_images: Number of images outside the test part.
        trained_an_epoch: Images that all folds of an epoch train on, counted once a fold.
        predicted_an_epoch: Images that all folds of an epoch predict.
        epochs: Largest number of epochs.
        seconds: Longest time of a single trial, in seconds.
        slots: Number of trials at once.
        is_forced: The user insists on a backbone, whatever it costs.
        allows_plain: Closed-form heads take part and see plain images, so that a net may serve them alone.
    """

    images: int
    training_images: int
    trained_an_epoch: int
    predicted_an_epoch: int
    epochs: int
    seconds: float
    slots: int
    is_forced: bool
    allows_plain: bool = False

    @property
    def counts(self) -> Images:
        """Numbers of images that passes and epochs work on."""
        return Images(self.trained_an_epoch, self.predicted_an_epoch, self.images)


@dataclass(frozen=True, slots=True)
class FeasibleModels:
    """Backbones that fit the time budget on this machine.

    Attributes:
        context: Choices that the search space has for each backbone.
        left_out: Backbone -> reason why it takes no part in this search.
        costs: Backbone of the context -> seconds per image.
        plain_only: Backbone of the context -> reason why closed-form heads on plain images alone use it.
    """

    context: SpaceContext
    left_out: dict[str, str]
    costs: dict[str, Cost]
    plain_only: dict[str, str] = field(default_factory=dict)


def about_short_limit(points: Iterable[TrialConfig], price: Pricing, minutes: float | None) -> list[str]:
    """Return a warning if no trial can be expected to have its features within the time of the search.

    Args:
        points: Configurations of the search.
        price: Estimates the time of a configuration.
        minutes: Time of the search; None for no limit.
    """
    passes = [price(form).pass_seconds for point in points for form in (point, *smaller_forms(point))]
    shortest = min(passes, default=0.0)
    if minutes is None or shortest <= 60.0 * minutes:
        return []
    return [
        f"--minutes {minutes:g} is short: the cheapest features of all images take about "
        f"{clock_text(shortest)} here, if none is stored; the search may end without a score"
    ]


def measure_costs(
    inventory: Inventory, patch_set: PatchSet, device: Device, *, store: Path, waits_for: int = 0
) -> dict[str, Cost]:
    """Return the cost of each backbone on this machine, by name: as the store knows it, or measured now.

    Nets that a program has registered are always measured, since their code may have changed.

    Args:
        inventory: Backbones that have weights.
        patch_set: The images.
        device: Device of the trials.
        store: Folder of the store, with exported stages and the costs of earlier searches.
        waits_for: Number of images whose passes are worth seconds of exporting stages, so as to measure the
            passes as they will run later; with 0 only an export that is there already is measured, and an
            upper bound where none is.
    """
    if patch_set.is_table:  # nothing passes a net, so there is nothing to measure
        return {}
    try:
        return _costs(inventory, patch_set, device, store=store, waits_for=waits_for)
    finally:
        free_cached(device)  # the card is the trials'


def _costs(
    inventory: Inventory, patch_set: PatchSet, device: Device, *, store: Path, waits_for: int
) -> dict[str, Cost]:
    known, exports = KnownCosts(store, device), store / "onnx"
    has_exports = waits_for > 0 or any(exports.glob("*.onnx"))
    found = {}
    for name, weights in inventory.usable.items():
        net = backbone_named(name)
        size_px = default_side(net, patch_set.images.shape[1:])
        larger_px = _larger_side(name, patch_set)
        measure = functools.partial(
            measure_cost,
            net,
            size_px=size_px,
            channels=patch_set.channels,
            weights=weights,
            device=device,
            images=waits_for * VIEWS * len(CONTRASTS),
            cache=exports,
            larger_px=larger_px,
        )
        facts = {"net": name, "sides": (size_px, larger_px), "channels": patch_set.channels}
        facts |= {"exports": has_exports, "waits": waits_for > 0}
        found[name] = measure() if name in registered("backbone") else known.cost(facts, measure)
    return found


def _larger_side(name: str, patch_set: PatchSet) -> int | None:
    """Side to which a pretrained net may enlarge small images, if it does so for closed-form heads."""
    net = backbone_named(name)
    if net.is_fixed or not net.has_imagenet_weights or max(patch_set.images.shape[1:3]) > SMALL_PX:
        return None
    return net.size_px if default_side(net, patch_set.images.shape[1:]) < net.size_px else None


def find_feasible_models(
    inventory: Inventory,
    measured: Mapping[str, Cost],
    patch_set: PatchSet,
    device: Device,
    budget: TrialBudget,
) -> FeasibleModels:
    """Return the feasible backbones with the reasons against the others.

    Args:
        inventory: Backbones that have weights.
        measured: Their costs, as from `measure_costs`.
        patch_set: The images.
        device: Device of the trials.
        budget: Size of a trial and the time that it may take.
    """
    if patch_set.is_table:  # nothing passes a net, so there is nothing to measure
        return FeasibleModels(_table_context(budget), {}, {})
    left_out = dict(inventory.left_out)
    fine_tunes: dict[str, tuple[str, ...]] = {}
    costs: dict[str, Cost] = {}
    plain_only: dict[str, str] = {}
    for name in inventory.usable:
        cost = measured[name]
        found = _affordable_levels(name, cost, budget)
        if not isinstance(found, str):
            fine_tunes[name], costs[name] = found, cost
        elif _serves_plain(cost, budget):
            fine_tunes[name], costs[name], plain_only[name] = (), cost, found
        else:
            left_out[name] = found
    context = _context(fine_tunes, frozenset(plain_only), patch_set, device, budget)
    if budget.allows_plain:
        further = {name: _further_sizes(name, costs[name], context, budget) for name in context.backbones}
        context = context.model_copy(
            update={"further_sizes": {name: own for name, own in further.items() if own}}
        )
    return FeasibleModels(context, left_out, costs, plain_only)


def _context(
    fine_tunes: dict[str, tuple[str, ...]],
    plain_only: frozenset[str],
    patch_set: PatchSet,
    device: Device,
    budget: TrialBudget,
) -> SpaceContext:
    usable = tuple(fine_tunes)
    sizes = {name: default_side(backbone_named(name), patch_set.images.shape[1:]) for name in usable}
    has_gpu = device.type == "cuda"
    more = ("rotate",) if has_gpu or budget.images <= _SMALL_SET else ()
    return SpaceContext(
        backbones=usable,
        from_scratch=frozenset(name for name in usable if backbone_named(name).trains_from_scratch),
        fine_tunes=fine_tunes,
        flattens={name: _flattens(name, sizes[name], patch_set.channels) for name in usable},
        levels={name: backbone_named(name).cut_names for name in usable},
        readout_cuts={name: own for name in usable if (own := backbone_named(name).readout_cuts)},
        tap_lists={name: lists for name in usable if (lists := backbone_named(name).tap_lists)},
        adapts_channels=frozenset(
            name
            for name in usable
            if has_gpu
            and patch_set.channels == 1
            and backbone_named(name).channels == 3
            and name not in plain_only
        ),
        plain_only=plain_only,
        augmentations=("none", "flips", "d4", *more),
        sizes_px=sizes,
        epochs=budget.epochs,
        images=budget.training_images,
        has_gpu=has_gpu,
        depths=(0, 1, 2, "all") if has_gpu else (0, 1),
        # If a small net from scratch fits the budget, others of its kind do.
        has_free_form=SCRATCH4.name in usable and not budget.is_forced,
        image_px=max(patch_set.images.shape[1:3]),
        image_channels=patch_set.channels,
    )


def _table_context(budget: TrialBudget) -> SpaceContext:
    return SpaceContext(
        backbones=(TABLE.name,),
        from_scratch=frozenset(),
        fine_tunes={TABLE.name: ()},
        flattens={TABLE.name: ()},
        levels={TABLE.name: ("top",)},
        adapts_channels=frozenset(),
        augmentations=("none",),
        sizes_px={},
        epochs=budget.epochs,
        images=budget.training_images,
    )


def _affordable_levels(name: str, cost: Cost, budget: TrialBudget) -> tuple[str, ...] | str:
    """Cut levels at which a trial may train the last stage, or the reason why the backbone is left out."""
    if cost.from_pixels is not None:
        seconds = _trial_seconds(cost.from_pixels, 1, budget)
        is_affordable = budget.is_forced or seconds <= budget.seconds
        return () if is_affordable else _too_slow("a trial that trains from pixels", seconds, budget.seconds)
    # All frozen trials of one contrast preset share these passes, and the workers share the work. Statistics
    # without weights have closed-form heads, which see one view, in each preset.
    is_fixed = backbone_named(name).is_fixed
    views, what = (len(CONTRASTS), "contrast preset") if is_fixed else (VIEWS, "view")
    passes, limit = _passes(cost, views, budget), _longest_passes(budget)
    if passes > limit and not budget.is_forced:
        return _too_slow(f"the {count_text(views, what)} of {budget.images} images", passes, limit)
    return tuple(
        level
        for level, stage in zip(backbone_named(name).cut_names, backbone_named(name).levels, strict=True)
        if _trial_seconds(cost.last_stage[stage], VIEWS, budget) <= budget.seconds
    )


def _serves_plain(cost: Cost, budget: TrialBudget) -> bool:
    """True if a net is too slow for all views of the images, and fast enough for closed-form heads."""
    if cost.from_pixels is not None or not budget.allows_plain:
        return False
    return _passes(cost, 1, budget) <= _longest_passes(budget)


def _passes(cost: Cost, views: int, budget: TrialBudget) -> float:
    """Seconds until all workers together have sent some views of the images through the frozen stages."""
    return cost.forward * budget.images * views / budget.slots


def _longest_passes(budget: TrialBudget) -> float:
    return 2 * budget.seconds


def _further_sizes(name: str, cost: Cost, context: SpaceContext, budget: TrialBudget) -> tuple[int, ...]:
    """Sides at which the plain images pass a pretrained net on one worker before a search has gone by."""
    net = backbone_named(name)
    if net.is_fixed or not net.has_imagenet_weights:
        return ()
    usual = context.sizes_px[name]
    return tuple(
        side
        for side in FURTHER_SIZES
        if side != usual
        and max(net.min_size_px, context.image_px / 2) <= side <= net.size_px
        and cost.forward_at(side, usual) * budget.images <= _SIDE_PASSES * budget.seconds
    )


def _trial_seconds(step: float, views: int, budget: TrialBudget) -> float:
    return trial_seconds(
        step,
        trained=budget.trained_an_epoch,
        predicted=budget.predicted_an_epoch,
        epochs=budget.epochs,
        views=views,
    )


def _too_slow(what: str, seconds: float, limit: float) -> str:
    return (
        f"{what} would take about {seconds / 60:.0f} min here, the limit is {limit / 60:.1f} "
        "(--trial-minutes, or --set model.backbone to insist)"
    )


def _flattens(name: str, size_px: int, channels: int) -> tuple[str, ...]:
    backbone = backbone_named(name)
    shapes = feature_shapes(name, backbone.channels or channels, size_px)
    return tuple(
        level
        for level in backbone_named(name).cut_names
        if math.prod(shapes[backbone.stage_names[backbone.cut_index(level) - 1]]) <= LARGEST_SHARED_MAP
    )
