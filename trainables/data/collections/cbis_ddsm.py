"""CBIS-DDSM: 3,568 outlined masses and calcifications on films of 1,566 patients, with pathology.

Source: Lee et al. (2017), "A curated mammography data set for use in computer-aided detection and diagnosis
research". The four case tables are read in the old edition, in the present one, and with underscores.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from trainables.common.errors import DataError
from trainables.common.text import count_text
from trainables.config.tasks import CODES_OF_KIND
from trainables.data.collections.cbis_files import KEY, Stored, film_among, find_files, mask_among
from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import (
    ROI_METHODS,
    checked_options,
    cut_of,
    listing,
    regions_of,
    without_torn_patients,
)
from trainables.data.collections.tables import Row, birads, column_name, density, known, number, read_table
from trainables.data.collections.tree import files_below
from trainables.data.columns import SIDES

_OLD_NAMES: Final = {
    "side": "left_or_right_breast",
    "view": "image_view",
    "abn_num": "abnormality_id",
    "od_img_path": "image_file_path",
    "od_crop_path": "cropped_image_file_path",
    "mask_path": "roi_mask_file_path",
}
_NEEDS: Final = (
    "patient_id",
    "left_or_right_breast",
    "image_view",
    "abnormality_id",
    "pathology",
    "image_file_path",
)
_TABLE: Final = re.compile(r"(mass|calc).*(case_description|data).*\.csv$", re.IGNORECASE)
_PATHOLOGIES: Final = {"BENIGN": 0, "BENIGN_WITHOUT_CALLBACK": 0, "MALIGNANT": 1}
_UNKNOWN: Final = ("", "N/A", "NA")


@dataclass(frozen=True, slots=True)
class Lesion:
    """One row of a case table.

    Attributes:
        kind: `mass` or `calcification`.
        is_test: True for the official test part.
        film: Name of the film, such as `Mass-Test_P_00016_LEFT_CC`.
        number: Number of the abnormality on the film.
        row: The row.
    """

    kind: str
    is_test: bool
    film: str
    number: int
    row: Row

    @property
    def name(self) -> str:
        """Name of the region, as its folder has it."""
        return f"{self.film}_{self.number}"

    @property
    def patient(self) -> str:
        """Patient, the same in the tables of masses and of calcifications."""
        return self.row["patient_id"]


def list_cbis(path: Path, choices: Choices) -> Listing:
    """List outlined regions, or whole films.

    Args:
        path: Folder with the case tables and the images, in any arrangement that TCIA or Kaggle publish.
        choices: `roi` (the default) takes each abnormality, `image` each film with the label of its worst
            one; `roi_method` is how regions are cut.

    Raises:
        DataError: If there is no case table, or a column is missing.
    """
    regions, cut = regions_of(choices, ("roi", "image")), cut_of(checked_options(choices, ROI_METHODS))
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    lesions, problems = read_lesions(_tables(path, choices))
    files, unread = find_files(path)
    problems += unread
    notes = [
        f"{len(lesions)} abnormalities of {len({one.patient for one in lesions})} patients, joined over "
        "masses and calcifications; BENIGN_WITHOUT_CALLBACK counts as benign",
    ]
    examples, swapped = list[Example](), 0
    for lesion in lesions:
        film = film_among(files.get(lesion.film, ()), lesion.row["image_file_path"])
        if film is None:
            problems.append(Problem(lesion.name, f"has no film; {lesion.film} is not on the disk"))
            continue
        example = _example(lesion, film)
        if regions == "roi":
            mask = mask_among(files.get(lesion.name, ()), film)
            if mask is None:
                problems.append(Problem(lesion.name, _no_mask(files.get(lesion.name, ()))))
                continue
            swapped += _is_swapped(mask, lesion.row)
            example = replace(example, mask=mask.path, cut=cut)
        examples.append(example)
    if regions == "image":
        examples = _films(examples, notes)
    if swapped:
        notes.append(
            f"the tables name the crop for the mask in {swapped} of {len(examples)} regions; set right"
        )
    examples = without_torn_patients(examples, notes)
    return listing(path, examples, "pisa", notes=notes, problems=problems)


def read_lesions(tables: list[Path]) -> tuple[list[Lesion], list[Problem]]:
    """Read case tables, one row an abnormality.

    Args:
        tables: The CSV files.

    Returns:
        The abnormalities in the order of the tables, and rows that cannot be used.

    Raises:
        DataError: If a column is missing.
    """
    lesions: dict[str, Lesion] = {}
    problems = []
    for table in tables:
        for place, row in enumerate(read_table(table, _NEEDS, also=_OLD_NAMES), start=1):
            found = _lesion(row, table, f"{table.name}, row {place}")
            if isinstance(found, Problem):
                problems.append(found)
            elif found.name in lesions and lesions[found.name].row != row:
                problems.append(
                    Problem(f"{table.name}, row {place}", f"repeats {found.name} with other values")
                )
            else:
                lesions.setdefault(found.name, found)
    return list(lesions.values()), problems


def _tables(path: Path, choices: Choices) -> list[Path]:
    if choices.table is not None:
        return [choices.table]
    tables = [file for file in files_below(path)[0] if _TABLE.search(file.name)]
    if not tables:
        raise DataError(
            f"{path} needs the case tables, such as mass_case_description_train_set.csv; none is there"
        )
    return tables


def _lesion(row: Row, table: Path, where: str) -> Lesion | Problem:
    kind, part = _kind_and_part(row, table)
    if kind is None or part is None:
        return Problem(where, "does not say whether it is a mass or a calcification, or for training or test")
    if row["pathology"].upper() not in _PATHOLOGIES:
        return Problem(where, f"has no pathology that is known ({row['pathology']!r})")
    if not row["abnormality_id"].isdigit():
        return Problem(where, f"has no number of its abnormality ({row['abnormality_id']!r})")
    side, view = row["left_or_right_breast"].upper(), row["image_view"].upper()
    film = f"{kind}-{part}_{row['patient_id']}_{side}_{view}"
    if KEY.fullmatch(film) is None:
        return Problem(where, f"names no film ({film})")
    return Lesion(
        "mass" if kind == "Mass" else "calcification", part == "Test", film, int(row["abnormality_id"]), row
    )


def _kind_and_part(row: Row, table: Path) -> tuple[str | None, str | None]:
    """`Mass` or `Calc` and `Training` or `Test`, by the path of the image, else by the name of the table."""
    for text in (row["image_file_path"], table.name):
        kind = re.search(r"mass|calc", text, re.IGNORECASE)
        part = re.search(r"train|test", text, re.IGNORECASE)
        if kind and part:
            return kind[0].title(), "Training" if part[0].lower() == "train" else "Test"
    return None, None


def _example(lesion: Lesion, film: Stored) -> Example:
    row = lesion.row
    columns = {
        name: value
        for name in ("mass_shape", "mass_margins", "calc_type", "calc_distribution")
        if (value := row.get(name, "").upper()) not in _UNKNOWN
    }
    return Example(
        file=film.path,
        name=lesion.name,
        label=CODES_OF_KIND[lesion.kind][_PATHOLOGIES[row["pathology"].upper()]],
        patient=lesion.patient,
        exam=lesion.patient,
        laterality=SIDES[row["left_or_right_breast"].upper()],
        view=row["image_view"].upper(),
        is_test=lesion.is_test,
        columns=known(
            finding=lesion.kind,
            pathology=row["pathology"].upper(),
            density=density(row.get("breast_density", "")),
            birads=birads(row.get("assessment", "")),
            subtlety=number(row.get("subtlety", "")),
            **columns,
        ),
    )


def _no_mask(stored: list[Stored] | tuple[()]) -> str:
    if not stored:
        return "has no mask on the disk"
    return f"has {count_text(len(stored), 'file')}, of which none or several could be the mask"


def _is_swapped(mask: Stored, row: Row) -> bool:
    """True if the tables give the name of the mask as that of the crop, and another as the mask's."""
    crop, own = (Path(row.get(name, "")).name for name in ("cropped_image_file_path", "roi_mask_file_path"))
    return mask.path.name == crop != own


def _films(examples: list[Example], notes: list[str]) -> list[Example]:
    """One example a film, over the tables of masses and of calcifications, by its worst abnormality."""
    films: dict[tuple[object, ...], list[Example]] = {}
    for one in examples:
        films.setdefault((one.patient, one.laterality, one.view, one.is_test), []).append(one)
    mixed = sum(len({one.label in (2, 4) for one in own}) > 1 for own in films.values())
    notes.append(
        f"a film has the label of its worst abnormality; {count_text(mixed, 'film')} hold both classes"
    )
    return [_whole(own) for own in films.values()]


def _whole(own: list[Example]) -> Example:
    worst = max(own, key=lambda one: (one.label in (2, 4), one.name))
    findings = "+".join(sorted({str(one.columns["finding"]) for one in own}))
    side = "LEFT" if worst.laterality == "L" else "RIGHT"
    columns: dict[str, str | float | int | bool] = {
        **{
            name: value for name, value in worst.columns.items() if name in ("pathology", "density", "birads")
        },
        "finding": findings,
        "abnormalities": len(own),
    }
    return replace(
        worst, name=f"{worst.patient}_{side}_{worst.view}{'_test' if worst.is_test else ''}", columns=columns
    )


def _reads(path: Path) -> bool:
    """True for a folder with a case table in it or one or two folders down."""
    if not path.is_dir():
        return False
    tables = (file for pattern in ("*.csv", "*/*.csv", "*/*/*.csv") for file in path.glob(pattern))
    return any(_TABLE.search(file.name) and "case_description" in column_name(file.stem) for file in tables)


CBIS_DDSM = Collection(
    name="cbis-ddsm",
    title="CBIS-DDSM (Lee et al. 2017)",
    accepts="a folder with the four case tables and the images as TCIA (DICOM) or Kaggle (JPEG) publish them",
    list=list_cbis,
    reads=_reads,
    is_mammogram=True,
    licence="CC BY 3.0; cite Lee et al. 2017",
    region_size=(299, 299),
)
