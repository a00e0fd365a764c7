"""What the page on own tasks shows is run as it stands there."""

import csv
import re
from pathlib import Path

import pytest
import yaml
from source_files import noise, write

from orchestrator.cli.main import build_parser
from orchestrator.cli.search import request_of
from trainables.config.task_file import read_tasks
from trainables.data.collections.breakhis import list_breakhis
from trainables.data.collections.collection import Choices
from trainables.data.prepared.on_the_way import load_data

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to-tasks.md").read_text()


def blocks(kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    return [text for own, text in found if own == kind]


def test_every_command_of_the_page_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "tasks.yaml").write_text(blocks("yaml")[0])
    commands = [line.split()[1:] for block in blocks("sh") for line in block.splitlines()]
    asked = [request_of(build_parser().parse_args(command)) for command in commands]
    assert [request.task for request in asked] == [
        *("grade", "grade", "breakhis_types", "breakhis_pathology", "birads_density", "bach"),
    ]


def test_the_request_from_python_is_that_of_the_page() -> None:
    found: dict[str, object] = {}
    exec(blocks("python")[0], found)  # the page's own code
    request = found["request"]
    assert request.task_definition.codes == {"1": "low", "2": "middle", "3": "high"}  # type: ignore[attr-defined]  # code of a page


@pytest.fixture
def of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders of BreaKHis as the page's code makes them of the archive, which lies beside them."""
    monkeypatch.chdir(tmp_path)
    slides = {
        "SOB_M_DC_14-2523": "ductal_carcinoma",
        "SOB_B_A_14-22549AB": "adenosis",
        "SOB_B_A_14-22549G": "adenosis",
        "SOB_B_F_14-9133": "fibroadenoma",
    }
    for place, (slide, tumour) in enumerate(slides.items()):
        side = "malignant" if "_M_" in slide else "benign"
        folder = tmp_path / "BreaKHis_v1/histology_slides/breast" / side / "SOB" / tumour / slide
        named = "-".join(slide.rsplit("_", 1))  # SOB_M_DC-14-2523-40-001.png in SOB_M_DC_14-2523
        for number in range(3):
            write(folder / "40X" / f"{named}-40-{number:03d}.png", noise(10 * place + number))
            write(folder / "100X" / f"{named}-100-{number:03d}.png", noise(500 + 10 * place + number))
    exec(blocks("python")[1], {})  # the page's own code
    return tmp_path / "breakhis_40x"


def test_the_archive_of_breakhis_becomes_class_folders_with_patients(of_the_page: Path) -> None:
    with (of_the_page / "patients.csv").open() as table:
        assert {row["patient"] for row in csv.DictReader(table)} == {"14-2523", "14-22549", "14-9133"}
    for name, task in read_tasks(ROOT / "docs/tasks/breakhis.yaml").items():
        found, _ = load_data("breakhis_40x", task=task, label_codes=None, store=of_the_page.parent / "store")
        assert len(found.images) == 12
        assert len(set(found.labels.tolist())) == (3 if name == "breakhis_types" else 2)
        assert found.patients is not None
        assert set(found.patients.tolist()) == {"14-2523", "14-22549", "14-9133"}


def test_patients_of_the_page_are_those_of_the_collection(of_the_page: Path) -> None:
    listed = list_breakhis(of_the_page.parent / "BreaKHis_v1", Choices(options={"magnification": "40"}))
    with (of_the_page / "patients.csv").open() as table:
        by_page = {Path(row["file"]).stem: row["patient"] for row in csv.DictReader(table)}
    assert by_page == {one.name: one.patient for one in listed.examples}


def test_the_keys_of_the_page_are_those_that_are_read() -> None:
    from trainables.config import task_file

    named = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert named == list(task_file._FIELDS)
    assert list(yaml.safe_load(blocks("yaml")[0])) == ["grade"]
