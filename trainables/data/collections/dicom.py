"""Any tree of DICOM or image files with a table of labels: one row an image.

The table has the columns `file` (path below the folder, or bare name) or `SOPInstanceUID`, and `label`; where
they are there, `patient`, `exam`, `laterality`, `view`, `frame`, `split` and boxes (`box_left`, `box_top`,
`box_width`, `box_height`, or `xmin`, `ymin`, `xmax`, `ymax`) are read too, and every other column is taken
along. Headers say what the table leaves out; nothing that names a person is taken from them.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from trainables.common.errors import DataError
from trainables.config.tasks import LEFT_OUT
from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.collections.mammograms import MAMMOGRAMS, are_mammograms
from trainables.data.collections.parts import regions_of, task_option
from trainables.data.collections.rowless_images import note_rowless
from trainables.data.collections.table_cells import box_of, check_boxes_in_pixels, frame_of, known_cell
from trainables.data.collections.table_labels import read_labels
from trainables.data.collections.tree import files_below
from trainables.data.columns import EXTRA_COLUMN, NOT_STATED_WORDS, SIDES
from trainables.data.csv_table import KNOWN_COLUMNS, column_names, header_of, read_csv
from trainables.data.dicom.headers import VIEWS
from trainables.data.dicom.reading import is_dicom, read_headers
from trainables.data.image_files import ImageFileError
from trainables.data.personal_names import says_who
from trainables.data.sources.checks import check_spellings, is_no_patient
from trainables.data.sources.split_words import (
    EXTRA_WORDS,
    TEST_WORDS,
    TRAINING_WORDS,
    VALIDATION_WORDS,
    extra_part,
)
from trainables.data.sources.telling_names import could_group, could_part, may_be_parts, may_be_patients

_TABLES: Final = ("labels.csv", "table.csv")
_ARMS: Final = ("group", "groups")  # of a study, such as screening and control, rather than patients
_OF_SEVERAL_LABELS: Final = "has rows of several labels"


def list_tree(path: Path, choices: Choices) -> Listing:
    """List the images that the table names.

    Args:
        path: Folder of the images.
        choices: The table, unless it is `labels.csv` in the folder; `image` takes whole images, `roi` the
            boxes of the table, and neither takes the box of a row where it has one. The task is the one whose
            classes, numbers or codes the labels are; `mammograms` among the options says whether whole images
            are mammograms (`yes`, `no`), which headers and sizes decide otherwise.

    Raises:
        ConfigError: If the file of an own task cannot be used.
        DataError: If there is no table, it cannot be read, it lacks a column that is needed, its labels may
            be the numbers of something else, or it names the part of a split for some images alone.
    """
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    task, options = task_option(choices, {"mammograms": MAMMOGRAMS})
    regions = regions_of(choices, ("image", "roi")) if choices.regions else None
    table = _Table.read(choices.table or _table_in(path))
    _check_columns(table)
    check_boxes_in_pixels(table.rows, table.path.name)
    files, problems = files_below(path)
    images = [file for file in files if file != table.path]
    find = _finder(path, images, table, problems)
    examples, notes, words = list[Example](), list[str](), list[str]()
    labels = read_labels([row.get("label", "") for row in table.rows], task, table.path.name, notes)
    for line, row, label in zip(table.lines, table.rows, labels.values, strict=True):
        if label == LEFT_OUT:
            continue
        found = _example(row, f"{table.path.name}, line {line}", find, label)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            examples.append(found)
            words.append(_part(row))
    examples = _with_parts(examples, words, table.path.name, notes)
    note_rowless(path, images, {file for row in table.rows if isinstance(file := find(row), Path)}, notes)
    if table.left_out:
        notes.append(f"columns left out, as they may name a person: {', '.join(table.left_out)}")
    unique, unused = _of_regions(examples, regions)
    whole = [example for example in unique if example.box is None]
    is_mammogram = are_mammograms(whole, options["mammograms"], notes)
    if is_mammogram:
        _note_unknown_words(table.rows, notes)
    every = (*problems, *unused)
    return Listing(unique, labels.label_codes, tuple(notes), every, labels.classes, is_mammogram)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of labels: rows as column -> text, columns by the names that are known, or their own.

    `lines` are those of the file on which the rows begin.
    """

    path: Path
    rows: tuple[dict[str, str], ...]
    lines: tuple[int, ...]
    by_uid: bool
    left_out: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "_Table":
        header, cells = read_csv(path)
        names = column_names(header)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            both = [column for column, name in zip(header, names, strict=True) if name == twice[0]]
            raise DataError(
                f"{path.name}: the columns {' and '.join(both)} could each be {twice[0]}; keep one"
            )
        if "label" not in names or not {"file", "uid"} & set(names):
            raise DataError(
                f"{path.name} must have the columns file (or SOPInstanceUID) and label; found: "
                f"{', '.join(header) or 'none'}"
            )
        _check_box_columns(path, names)
        left_out = tuple(name for name in names if name not in KNOWN_COLUMNS and says_who(name))
        rows = [
            {
                name: unicodedata.normalize("NFC", cell).strip()
                for name, cell in zip(names, row, strict=False)
                if name not in left_out
            }
            for row in cells.values()
        ]
        return cls(path, tuple(rows), tuple(cells), "file" not in names, left_out)


def _check_box_columns(path: Path, names: Sequence[str]) -> None:
    stated = [name for name in names if name.startswith("box_") and name in KNOWN_COLUMNS]
    by_size, by_end = (
        {"box_left", "box_top", *ends} for ends in (("box_width", "box_height"), ("box_right", "box_bottom"))
    )
    if stated and not (by_size <= set(stated) or by_end <= set(stated)):
        raise DataError(
            f"{path.name} states part of a box: {', '.join(stated)}; add the columns that are missing of "
            "box_left, box_top, box_width and box_height, or of xmin, ymin, xmax and ymax, or leave these out"
        )


def _table_in(path: Path) -> Path:
    found = [path / name for name in _TABLES if (path / name).is_file()]
    if not found:
        raise DataError(
            f"{path} has no {_TABLES[0]}; name the table of labels with --table (columns file or "
            "SOPInstanceUID, label, and where known patient, exam, laterality, view)"
        )
    return found[0]


def _check_columns(table: _Table) -> None:
    """Ask about columns that may be patients or parts of a split, where the table has none of these."""
    check_spellings((row.get("patient", "") for row in table.rows), table.path.name)
    names = list(dict.fromkeys(name for row in table.rows for name in row))
    for known, may_be, could_be in (
        ("patient", may_be_patients, could_group),
        ("split", may_be_parts, could_part),
    ):
        if known in names:
            continue
        for name in names:
            cells = np.array([row.get(name, "") for row in table.rows])
            if may_be(name) and could_be(cells) and name not in _ARMS:
                raise DataError(
                    f"{table.path.name}: the column {name} is not read as {known}; did you mean that? Call "
                    f"it {known}, or leave it out if it means something else"
                )


_Find = Callable[[Mapping[str, str]], "Path | str"]


def _finder(path: Path, files: Sequence[Path], table: _Table, problems: list[Problem]) -> _Find:
    """A function from a row to its file, or to the reason why there is none."""
    if table.by_uid:
        by_uid = _by_uid(path, files, problems)
        return lambda row: by_uid.get(row.get("uid", ""), "names a SOPInstanceUID that no file has")
    by_path = {_in_nfc(file.relative_to(path).as_posix()): file for file in files}
    by_name = defaultdict(list)
    for file in files:
        by_name[_in_nfc(file.name)].append(file)

    def find(row: Mapping[str, str]) -> Path | str:
        name = row.get("file", "").replace("\\", "/").removeprefix("./")
        if not name:
            return "names no file"
        if name in by_path:
            return by_path[name]
        alike = by_name.get(name.rpartition("/")[2], []) if "/" not in name else []
        if len(alike) > 1:
            return f"names {name}, and {len(alike)} files are called that; write its path below the folder"
        return alike[0] if alike else f"names {name}, which is not there"

    return find


def _by_uid(path: Path, files: Sequence[Path], problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        if not is_dicom(file):
            continue
        try:
            uid = read_headers(file).sop_instance_uid
        except ImageFileError as error:
            where = file.relative_to(path).as_posix()
            problems.append(Problem(where, str(error).removeprefix(str(file)).strip()))
            continue
        if uid is not None:
            found.setdefault(uid, file)
    return found


def _example(
    row: Mapping[str, str],
    where: str,
    find: _Find,
    label: int | None,
) -> Example | Problem:
    if label is None:
        return Problem(where, f"has a label that is not known ({row.get('label', '')!r})")
    file = find(row)
    if isinstance(file, str):
        return Problem(where, file)
    try:
        box, frame = box_of(row), frame_of(row)
    except ValueError:
        return Problem(
            where,
            "has a frame that is no whole number from 0 on, or part of a box, or one without area or in "
            "shares of the image",
        )
    part = _part(row)
    if part and part not in TEST_WORDS | TRAINING_WORDS | VALIDATION_WORDS | EXTRA_WORDS:
        return Problem(where, f"has a split that is not known ({part!r})")
    name = row.get("uid") or row["file"]
    return Example(
        file=file,
        name=f"{name}-{frame}" if frame else name,
        label=label,
        patient=None if is_no_patient(row.get("patient", "")) else row["patient"],
        exam=known_cell(row, "exam") or None,
        laterality=SIDES.get(row.get("laterality", "").upper()),
        view=_view(row) or None,
        frame=frame,
        box=box,
        is_test=part in TEST_WORDS if part else None,
        columns=_others(row),
    )


def _part(row: Mapping[str, str]) -> str:
    """The part of a split that a row names, in lower case, "" where it names none."""
    return known_cell(row, "split").lower()


def _with_parts(
    examples: Sequence[Example], words: Sequence[str], table: str, notes: list[str]
) -> list[Example]:
    """Examples that say whether they are extra, where some are.

    Raises:
        DataError: If some rows name their part and others do not, or all are extra.
    """
    without = [example.name for example, word in zip(examples, words, strict=True) if not word]
    if without and len(without) < len(words):
        raise DataError(
            f"the column split of {table} must say train, val, test or extra for every image, or for none; "
            f"{len(without)} of {len(words)} rows say nothing, such as that of {without[0]}"
        )
    is_extra = extra_part(words, f"the column split of {table}", notes)
    if is_extra is None:
        return list(examples)
    return [
        replace(example, columns={**example.columns, EXTRA_COLUMN: extra})
        for example, extra in zip(examples, is_extra.tolist(), strict=True)
    ]


def _view(row: Mapping[str, str]) -> str:
    """The view of a row in capitals, "" where none is stated."""
    view = row.get("view", "")
    return "" if view.lower() in NOT_STATED_WORDS else view.upper()


def _note_unknown_words(rows: Sequence[Mapping[str, str]], notes: list[str]) -> None:
    """Note views and sides of mammograms that are none, by which these are made ready in another way."""
    if views := sorted({view for row in rows if (view := _view(row)) and view not in VIEWS}):
        notes.append(
            f"the table states views that are not known: {', '.join(views)}; where the pectoral muscle is "
            f"removed, it stays in these. Known are {', '.join(sorted(VIEWS))}"
        )
    stated = {side for row in rows if (side := row.get("laterality", "")).lower() not in NOT_STATED_WORDS}
    if sides := sorted(side for side in stated if side.upper() not in SIDES):
        notes.append(
            f"the table states sides that are not known: {', '.join(sides)}; they count as not stated. The "
            "side of a breast is L or R"
        )


def _others(row: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: _number_or_text(row[name])
        for name in row
        if name not in KNOWN_COLUMNS and known_cell(row, name)
    }


def _number_or_text(cell: str) -> float | str:
    return float(cell) if re.fullmatch(r"-?\d+(\.\d+)?", cell) else cell


def _of_regions(
    examples: Sequence[Example], regions: str | None
) -> tuple[tuple[Example, ...], list[Problem]]:
    """Examples of the regions that are asked for, and the rows that are none."""
    if regions == "image":
        return _whole(examples)
    if regions == "roi":
        boxed = [example for example in examples if example.box is not None]
        unique, unused = _unique(boxed)
        bare = [example.name for example in examples if example.box is None]
        return unique, [*unused, *(Problem(name, "has no box, which --regions roi needs") for name in bare)]
    return _unique(examples)


def _whole(examples: Sequence[Example]) -> tuple[tuple[Example, ...], list[Problem]]:
    """Whole images, one of each; one whose rows disagree about its label is a problem."""
    labels = defaultdict(set)
    for example in examples:
        labels[example.name].add(example.label)
    agreed = {
        example.name: replace(example, box=None) for example in examples if len(labels[example.name]) == 1
    }
    torn = [name for name, found in labels.items() if len(found) > 1]
    return tuple(agreed.values()), [Problem(name, _OF_SEVERAL_LABELS) for name in torn]


def _unique(examples: Sequence[Example]) -> tuple[tuple[Example, ...], list[Problem]]:
    """Examples of different names; a row that repeats one, and one whose rows disagree, is a problem."""
    seen: dict[str, Example] = {}
    labels, repeated = defaultdict[str, set[int]](set), []
    for example in examples:
        box = example.box
        name = example.name if box is None else f"{example.name}@{box.left},{box.top}"
        labels[name].add(example.label)
        if name in seen:
            repeated.append(Problem(name, "is named by two rows of the table; the first is taken"))
        else:
            seen[name] = replace(example, name=name)
    torn = {name for name, found in labels.items() if len(found) > 1}
    problems = [one for one in repeated if one.what not in torn]
    problems += [Problem(name, _OF_SEVERAL_LABELS) for name in labels if name in torn]
    return tuple(one for name, one in seen.items() if name not in torn), problems


def _in_nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _reads(path: Path) -> bool:
    if not path.is_dir():
        return False
    try:
        names = column_names(header_of(_table_in(path)))
    except DataError:
        return False
    return "label" in names and bool({"file", "uid"} & set(names))


DICOM = Collection(
    name="dicom",
    title="A tree of DICOM or image files with a table of labels",
    accepts="a folder with labels.csv, or a table named with --table",
    list=list_tree,
    reads=_reads,
    is_mammogram=True,
    licence="unknown: they are the user's own images",
    is_general=True,
)
