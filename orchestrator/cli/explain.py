"""`orchestrate explain`."""

import argparse
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from orchestrator.cli.common import add_format, add_model, add_run, open_run, short_path
from orchestrator.reporting.console import messages, print_message, print_warning, show, warn_if_synthetic
from trainables.common.text import count_text

if TYPE_CHECKING:
    from results.relevance.method import RelevanceSettings

HELP = "show which part of an image a model looked at, as pictures and JSON"
EPILOG = """\
Without images, the worst misses and false alarms are explained, by the fold
models that held them out; the sealed test part stays closed. Methods that ask
for predictions alone: occlusion, rise, and windows, which slides over a whole
film that is larger than the training images. Methods that look into the net:
deconvnet, grad_cam_plus, integrated_gradients, layer_cam, lrp, unit_mask.
--checks says how far the maps can be believed. Files for a model of prepared
mammograms are made ready as those of predict, by the same --view and
--laterality.

examples:
  orchestrate explain latest
  orchestrate explain latest --trial 7 --method layer_cam --worst 12
  orchestrate explain latest --images film.png --method rise --seconds 10
  orchestrate explain latest --rows 12 40 --checks --format json
  orchestrate explain latest --images whole_film.png --method windows
  orchestrate explain latest --images idc/9037/*/*.png --slide
  orchestrate explain latest --images a.png b.png --view CC MLO --laterality L
"""
DEFAULT_METHOD: Final = "occlusion"
# Options that say how a map is made, by the setting that each of them is.
_SETTINGS: Final = MappingProxyType(
    {"seconds": "--seconds", "masks": "--masks", "fill": "--fill", "seed": "--seed", "window_px": "--window"}
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--images", type=Path, nargs="+", default=[], metavar="IMAGE", help="image files to explain"
    )
    which.add_argument(
        "--rows", type=int, nargs="+", metavar="ROW", help="rows of the run's data, from 0, to explain"
    )
    which.add_argument(
        "--worst", type=int, default=6, metavar="N", help="how many of the worst mistakes (default: 6)"
    )
    add_view_and_side(parser)
    add_relevance(parser)
    parser.add_argument(
        "--slide",
        action="store_true",
        help="put patches together to their slide, by x and y in their names, coloured by probability",
    )
    parser.add_argument(
        "--checks",
        action="store_true",
        help="measure insertion and deletion, and whether shuffled weights change the map",
    )
    parser.add_argument(
        "--preferred",
        action="store_true",
        help="also draw the image that the model prefers for each class, grown from noise",
    )
    parser.add_argument(
        "--out", type=Path, help="folder to write (default: explanations/MODEL-METHOD in the run folder)"
    )
    add_model(parser, refit="explain the models that `orchestrate refit` trained")
    add_format(parser)


def add_view_and_side(parser: argparse.ArgumentParser) -> None:
    """Add --view and --laterality, by which files of mammograms are made ready."""
    parser.add_argument(
        "--view",
        nargs="+",
        default=[],
        dest="views",
        metavar="VIEW",
        help="for a model of prepared mammograms: CC, MLO, ... where the files do not state it: one for all "
        "images, or as many in their order",
    )
    parser.add_argument(
        "--laterality",
        nargs="+",
        default=[],
        metavar="SIDE",
        help="for a model of prepared mammograms: L or R, as --view",
    )


def add_relevance(parser: argparse.ArgumentParser, *, explains: str = "") -> None:
    """Add the options of a relevance method.

    Args:
        parser: Parser of the verb.
        explains: Option that asks for maps in the first place, and that these belong to; empty for none.
    """
    end = f"; with {explains}" if explains else ""
    before = "map-" if explains else ""
    parser.add_argument(
        f"--{before}method",
        metavar="METHOD",
        dest="method",
        help=f"relevance method (default: {DEFAULT_METHOD}){end}",
    )
    parser.add_argument(
        f"--{before}seconds",
        type=float,
        metavar="S",
        dest="seconds",
        help=f"time of a map by occlusion or rise (default: 4){end}",
    )
    if explains:
        return
    parser.add_argument(
        "--masks",
        type=int,
        metavar="N",
        help="number of changed images instead of a time, so that a map is the same on every machine",
    )
    parser.add_argument(
        "--fill",
        choices=("blur", "mean"),
        help="what hides a part: the blurred image, or its mean (default: blur)",
    )
    parser.add_argument(
        "--window",
        type=int,
        metavar="PX",
        dest="window_px",
        help="side of the windows of --method windows (default: that of the training images)",
    )
    parser.add_argument(
        "--seed", type=int, help="seed of random masks, and of --checks and --preferred (default: 0)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Explain and print; returns the exit code."""
    from orchestrator.postprocessing.explanations import ExplanationRequest, explain_run
    from orchestrator.postprocessing.preferred_images import write_preferred
    from results.export.view_and_side import stated_by
    from results.relevance.explanation import (
        explanations_as_csv,
        explanations_as_json,
        explanations_table,
    )

    folder = open_run(arguments)
    method, settings = arguments.method or DEFAULT_METHOD, _settings(arguments)
    request = ExplanationRequest(
        method=method,
        rows=None if arguments.rows is None else tuple(arguments.rows),
        files=tuple(arguments.images),
        worst=arguments.worst,
        settings=settings,
        has_checks=arguments.checks,
        is_slide=arguments.slide,
        stated=tuple(stated_by(arguments.views, arguments.laterality)),
    )
    found, written = explain_run(
        folder,
        request,
        ensemble=arguments.ensemble,
        trial=arguments.trial,
        refit=arguments.refit,
        out=arguments.out,
    )
    warn_if_synthetic(folder)
    for note in found.notes:
        print_warning(messages(), note)
    show(
        arguments.format,
        table=lambda: explanations_table(found),
        rows=lambda: explanations_as_json(found, written),
        csv=lambda: explanations_as_csv(found),
    )
    preferred = list[Path]()
    if arguments.preferred:
        preferred = write_preferred(
            folder,
            written,
            ensemble=arguments.ensemble,
            trial=arguments.trial,
            refit=arguments.refit,
            seed=settings.seed,
            inputs=arguments.images,
        )
    pictures = count_text(len(found.images) + len(preferred), "picture")
    print_message(messages(), f"{pictures} in {short_path(written)}")
    return 0


def _settings(arguments: argparse.Namespace) -> "RelevanceSettings":
    """The settings of a map; one that would change nothing is refused."""
    from orchestrator.postprocessing.relevance_methods import any_method
    from results.relevance.method import RelevanceSettings
    from trainables.common.errors import ConfigError

    if arguments.slide and (arguments.method is not None or arguments.checks):
        left_out = "--checks" if arguments.method is None else "--method"
        raise ConfigError(f"--slide shows the probability of each patch, by no method: leave {left_out} out")
    method = any_method(arguments.method or DEFAULT_METHOD)
    known = set(() if arguments.slide else method.settings)
    known |= {"fill", "seed"} if arguments.checks else set()
    known |= {"seed"} if arguments.preferred else set()
    given = {name: value for name in _SETTINGS if (value := getattr(arguments, name)) is not None}
    for name in given:
        if name not in known:
            what = "--slide" if arguments.slide else f"--method {method.name}"
            raise ConfigError(f"{_SETTINGS[name]} changes nothing of {what}: leave it out")
    if "masks" in given and "seconds" in given:
        raise ConfigError("--masks takes the place of a time: give one of --masks and --seconds")
    return RelevanceSettings(**given)
