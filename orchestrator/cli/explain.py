"""`orchestrate explain`."""

import argparse
from pathlib import Path

from orchestrator.cli.common import add_format, add_model, add_run, open_run, short_path
from orchestrator.reporting.console import messages, print_message, print_warning, show, warn_if_synthetic

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
        default="occlusion",
        metavar="METHOD",
        dest="method",
        help=f"relevance method (default: occlusion){end}",
    )
    parser.add_argument(
        f"--{before}seconds",
        type=float,
        default=4.0,
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
        default="blur",
        help="what hides a part: the blurred image, or its mean (default: blur)",
    )
    parser.add_argument(
        "--window",
        type=int,
        metavar="PX",
        help="side of the windows of --method windows (default: that of the training images)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random masks (default: 0)")


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
    from results.relevance.method import RelevanceSettings

    folder = open_run(arguments)
    settings = RelevanceSettings(
        arguments.seconds, arguments.masks, arguments.fill, arguments.seed, arguments.window
    )
    request = ExplanationRequest(
        method=arguments.method,
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
    if arguments.preferred:
        write_preferred(
            folder,
            written,
            ensemble=arguments.ensemble,
            trial=arguments.trial,
            refit=arguments.refit,
            seed=arguments.seed,
            inputs=arguments.images,
        )
    print_message(messages(), f"pictures in {short_path(written)}")
    return 0
