"""`orchestrate predict`: needs the bundle and ONNX Runtime, nothing of the search."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.common import add_format
from orchestrator.cli.explain import DEFAULT_METHOD, add_relevance, add_view_and_side
from orchestrator.reporting.console import messages, print_message, print_warning, show
from results.errors import ExportError
from trainables.common.errors import ConfigError
from trainables.common.text import count_text
from trainables.config.unit_config import UnitName

if TYPE_CHECKING:
    from results.export.exported_model import Bundle
    from results.export.onnx_predictor import Prediction
    from results.export.view_and_side import Stated
    from results.relevance.method import RelevanceSettings

HELP = "predict images with an exported bundle"
EPILOG = """\
Files that cannot be used are named at the end, and the others are predicted
all the same; the exit code is 1 then. Ctrl-C prints what is predicted. The
model card says whether the model compares images with a healthy patch of the
same film (--baseline), and whether it needs the type of the finding (--type).
A model of prepared mammograms takes whole ones, and makes them ready as its
training images; where that goes by a view or side that no file states, give
--view and --laterality, or a table of units with these columns. Images that
are unlike those it was trained on are named, with a p-value: at most a share
of p of images like those of training are as unlike. --explain writes a
picture of what the model looked at for each image.

examples:
  orchestrate predict bundle/ image.png more/*.png
  orchestrate predict bundle/ *.png --format csv > predictions.csv
  orchestrate predict bundle/ a.png b.png \\
      --baseline healthy_a.png healthy_b.png
  orchestrate predict bundle/ a.png b.png --type mass calcification
  orchestrate predict bundle/ exam/*.dcm --dicom-sr reports/
  orchestrate predict bundle/ --units views.csv
  orchestrate predict bundle/ exam_1/ exam_2/
  orchestrate predict bundle/ image.png --explain maps/
  orchestrate predict bundle/ archive/*.dcm
  orchestrate predict bundle/ a.png b.png --view CC MLO --laterality L
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that export wrote")
    parser.add_argument(
        "images",
        type=Path,
        nargs="*",
        metavar="IMAGE",
        help="DICOM, PNG, JPEG, TIFF, PGM or BMP files; for a model of breasts, exams or patients DICOM "
        "files, whose headers tell these, or a folder for each",
    )
    parser.add_argument(
        "--units",
        type=Path,
        metavar="TABLE",
        help="for a model of breasts, exams or patients: a CSV table with one row an image and the columns "
        "file, patient, exam and laterality; of prepared mammograms also view",
    )
    parser.add_argument(
        "--hash-ids",
        metavar="KEY",
        help="key of the hashes that name units of DICOM headers, as of data prepare: a file, or env:NAME "
        "(default: drawn anew in each call)",
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
    add_view_and_side(parser)
    parser.add_argument(
        "--dicom-sr",
        type=Path,
        metavar="FOLDER",
        help="write a DICOM structured report for each DICOM image, which names it by its UIDs alone; for a "
        "model of single images",
    )
    parser.add_argument(
        "--sr-patient-id",
        action="store_true",
        help="copy the patient's id from the image into its report",
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="FOLDER",
        help="write a relevance map of each image, as a picture NAME.map.png, and all as JSON",
    )
    add_relevance(parser, explains="--explain")
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict and print; returns the exit code."""
    from results.export.dicom_report import check_reported
    from results.export.onnx_predictor import load_bundle, predict_files
    from results.export.prediction_formats import predictions_as_csv, predictions_as_json, predictions_table

    if arguments.sr_patient_id and arguments.dicom_sr is None:
        raise ConfigError(
            "--sr-patient-id says what goes into reports; give their folder with --dicom-sr, too"
        )
    if arguments.units is not None and (arguments.views or arguments.laterality):
        raise ConfigError(
            f"--units {arguments.units} states views and sides in its columns view and laterality; leave "
            "--view and --laterality out"
        )
    _check_maps(arguments)
    bundle = load_bundle(arguments.bundle)
    if arguments.dicom_sr is not None:
        check_reported(bundle)
    images, units = _images_and_units(arguments, bundle.manifest.unit)
    stated = _stated(
        arguments, goes_by_them=bundle.preparation is not None and bundle.preparation.needs_breast
    )
    _check_folder_of_maps(arguments, images)
    found = predict_files(
        bundle,
        images,
        baselines=arguments.baseline,
        types=arguments.types,
        units=units,
        stated=stated,
        keeps_interrupted=True,
    )
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
    if found.not_reached:
        said = count_text(found.not_reached, "file")
        print_warning(console, f"not reached, and not among the above: {said} of {len(images)}")
        raise KeyboardInterrupt
    if arguments.explain is not None:
        _write_maps(arguments, bundle, images, stated, {fault.place for fault in found.faults})
    has_all_reports = _write_reports(arguments, bundle, found.predictions) if arguments.dicom_sr else True
    return 0 if has_all_reports and not found.faults else 1


def _check_maps(arguments: argparse.Namespace) -> None:
    """Refuse a wrong method or time before anything is predicted."""
    from results.relevance.methods import relevance_method_named

    if arguments.explain is None and (arguments.method is not None or arguments.seconds is not None):
        said = "--map-seconds" if arguments.method is None else "--map-method"
        raise ConfigError(f"{said} says how maps are made; give their folder with --explain, too")
    relevance_method_named(arguments.method or DEFAULT_METHOD)
    _map_settings(arguments)


def _map_settings(arguments: argparse.Namespace) -> "RelevanceSettings":
    from results.relevance.method import RelevanceSettings

    return RelevanceSettings() if arguments.seconds is None else RelevanceSettings(seconds=arguments.seconds)


def _check_folder_of_maps(arguments: argparse.Namespace, images: Sequence[Path]) -> None:
    """Refuse a folder in which a map would replace an image, before anything is predicted."""
    from results.relevance.explained_folder import check_folder, picture_names

    if arguments.explain is not None:
        check_folder(arguments.explain, picture_names(images), [*images, *arguments.baseline])


def _write_maps(
    arguments: argparse.Namespace,
    bundle: "Bundle",
    images: Sequence[Path],
    stated: "Sequence[Stated]",
    left_out: set[int],
) -> None:
    """Write relevance maps of the images that were predicted, and say where."""
    from results.export.explained_files import explain_files
    from results.export.view_and_side import each_of

    used = [place for place in range(len(images)) if place not in left_out]
    types = arguments.types if len(arguments.types) != len(images) else [arguments.types[one] for one in used]
    explained = explain_files(
        bundle,
        [images[place] for place in used],
        arguments.explain,
        method=arguments.method or DEFAULT_METHOD,
        settings=_map_settings(arguments),
        baselines=[arguments.baseline[place] for place in used] if arguments.baseline else [],
        types=types,
        stated=[each_of(stated, len(images))[place] for place in used],
    )
    print_message(messages(), f"{count_text(len(explained.images), 'map')} in {arguments.explain}")


def _write_reports(
    arguments: argparse.Namespace, bundle: "Bundle", predictions: "Sequence[Prediction]"
) -> bool:
    """Write the reports and say how many; True if each prediction has one."""
    from results.export.dicom_report import write_reports

    console = messages()
    reports = write_reports(bundle, predictions, arguments.dicom_sr, has_patient_id=arguments.sr_patient_id)
    print_message(console, f"{count_text(len(reports.files), 'report')} in {arguments.dicom_sr}")
    for problem in reports.problems:
        print_warning(console, problem)
    return not reports.problems


def _stated(arguments: argparse.Namespace, *, goes_by_them: bool) -> "list[Stated]":
    """View and side of the images, from the options or the table of units."""
    from results.export.view_and_side import stated_by, stated_in_table

    if arguments.units is None:
        return stated_by(arguments.views, arguments.laterality)
    return stated_in_table(arguments.units) if goes_by_them else []


def _images_and_units(arguments: argparse.Namespace, unit: UnitName) -> tuple[list[Path], list[str]]:
    """Files to predict, and the unit of each for a model that predicts those."""
    from results.export.unit_table import read_unit_table, units_by_folder, units_by_header

    images, table = arguments.images, arguments.units
    is_by_header = unit != "image" and table is None and bool(images) and not any(map(Path.is_dir, images))
    if arguments.hash_ids is not None and not is_by_header:
        raise ConfigError("--hash-ids names the units of DICOM files of a model of units; leave it out")
    if table is not None and unit == "image":
        raise ExportError("this model predicts single images: name the files instead of --units")
    if table is not None and images:
        raise ExportError(f"--units {table} names the images itself; leave the others out")
    if table is not None:
        return read_unit_table(table, unit)
    if not images:
        more = "" if unit == "image" else f", or a table of the images of each {unit} with --units"
        raise ExportError(f"there is nothing to predict: name image files after the bundle{more}")
    if is_by_header:
        from trainables.data.prepared.identity import read_key

        key = None if arguments.hash_ids is None else read_key(arguments.hash_ids)
        return units_by_header(images, unit, key=key)
    return (list(images), []) if unit == "image" else units_by_folder(images, unit)
