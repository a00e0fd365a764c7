"""`orchestrate predict`: needs the bundle and ONNX Runtime, nothing of the search."""

import argparse
from pathlib import Path

from orchestrator.cli.common import add_format
from orchestrator.reporting.console import messages, print_warning, show
from results.errors import ExportError
from trainables.common.text import count_text
from trainables.config.unit_config import UnitName

HELP = "predict images with an exported bundle"
EPILOG = """\
Files that cannot be used are named at the end, and the others are predicted
all the same; the exit code is 1 then. The model card says whether the model
compares images with a healthy patch of the same film (--baseline), and
whether it needs the type of the finding (--type).

examples:
  orchestrate predict bundle/ image.png more/*.png
  orchestrate predict bundle/ *.png --format csv > predictions.csv
  orchestrate predict bundle/ a.png b.png \\
      --baseline healthy_a.png healthy_b.png
  orchestrate predict bundle/ a.png b.png --type mass calcification
  orchestrate predict bundle/ --units views.csv
  orchestrate predict bundle/ exam_1/ exam_2/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that export wrote")
    parser.add_argument(
        "images",
        type=Path,
        nargs="*",
        metavar="IMAGE",
        help="PNG, JPEG, TIFF, PGM or BMP files; for a model of breasts, exams or patients a folder for each",
    )
    parser.add_argument(
        "--units",
        type=Path,
        metavar="TABLE",
        help="for a model of breasts, exams or patients: a CSV table with one row an image and the columns "
        "file, patient, exam and laterality",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGE",
        help="healthy patches of the same films, as many as images and in their order",
    )
    parser.add_argument(
        "--type",
        nargs="+",
        default=[],
        dest="types",
        metavar="TYPE",
        help="mass or calcification: one for all images, or as many in their order",
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict and print; returns the exit code."""
    from results.export.onnx_predictor import (
        load_bundle,
        predict_files,
        predictions_as_csv,
        predictions_as_json,
        predictions_table,
    )

    bundle = load_bundle(arguments.bundle)
    images, units = _images_and_units(arguments, bundle.manifest.unit)
    found = predict_files(bundle, images, baselines=arguments.baseline, types=arguments.types, units=units)
    console = messages()
    for note in found.notes:
        print_warning(console, note)
    if bundle.manifest.is_synthetic:
        print_warning(console, "this model was trained on SYNTHETIC images")
    show(
        arguments.format,
        table=lambda: predictions_table(bundle, found.predictions),
        rows=lambda: predictions_as_json(bundle, found.predictions),
        csv=lambda: predictions_as_csv(bundle, found.predictions),
    )
    for fault in found.faults:
        print_warning(console, f"not predicted: {fault.reason}")
    if found.faults:
        said = count_text(len(found.faults), "file")
        print_warning(console, f"{said} of {len(images)} could not be predicted; see above")
    return 1 if found.faults else 0


def _images_and_units(arguments: argparse.Namespace, unit: UnitName) -> tuple[list[Path], list[str]]:
    """Files to predict, and the unit of each for a model that predicts those."""
    from results.export.unit_table import read_unit_table, units_by_folder

    images, table = arguments.images, arguments.units
    if table is not None and unit == "image":
        raise ExportError("this model predicts single images: name the files instead of --units")
    if table is not None and images:
        raise ExportError(f"--units {table} names the images itself; leave the others out")
    if table is not None:
        return read_unit_table(table, unit)
    if not images:
        more = "" if unit == "image" else f", or a table of the images of each {unit} with --units"
        raise ExportError(f"there is nothing to predict: name image files after the bundle{more}")
    return (list(images), []) if unit == "image" else units_by_folder(images, unit)
