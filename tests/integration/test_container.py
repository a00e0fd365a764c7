"""The container file builds, and what is built runs a search as its own user."""

import tomllib
from collections.abc import Iterator

import pytest
from built_image import ROOT, Images, images

pytestmark = [pytest.mark.machines, pytest.mark.timeout(2400)]

SEARCH = (
    "orchestrate search benign_malignant --data phantom:patients=12 --trials 2 --folds 2 --epochs 1 "
    "--set model.backbone=intensity --name first 2>&1"
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    with images(tmp_path_factory.mktemp("images")) as found:
        found.make_base()
        found.build()
        yield found


def test_the_container_file_builds_and_its_image_runs_a_search(image: Images) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] in image.run("orchestrate", "--version")
    assert image.run("id", "--user") == "1000"
    assert image.run("which", "rsync", "wget", "ray").split() == [
        "/usr/bin/rsync",
        "/usr/bin/wget",
        "/opt/venv/bin/ray",
    ]
    said = image.run("sh", "-c", SEARCH)
    assert "2 trials ended: 2 complete" in said
