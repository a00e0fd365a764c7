"""The software bill of materials names what is installed, and its own schema accepts it."""

import json
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions, version
from pathlib import Path

import pytest
from bill_of_materials import PRODUCT, SchemaError, bill_of_materials

pytestmark = pytest.mark.slow


def of_product() -> Iterator[Distribution]:
    yield from distributions()


class Written(Distribution):
    """An installed package, from the text of its metadata."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read_text(self, filename: str) -> str | None:
        return self.text if filename == "METADATA" else None

    def locate_file(self, path):
        return Path(path)


def test_it_names_every_installed_package_with_its_version() -> None:
    found = json.loads(bill_of_materials(of_product()))
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == PRODUCT
    listed = {own["name"].lower(): own for own in found["components"]}
    for name in ("torch", "ray", "optuna", "onnxruntime", "pydantic"):
        assert listed[name]["version"] == version(name)
        assert listed[name]["purl"].startswith(f"pkg:pypi/{name}@")
    assert len(listed) > 100
    needs = {own["ref"]: own.get("dependsOn", []) for own in found["dependencies"]}
    own = next(ref for ref in needs if ref.startswith(f"{PRODUCT}@"))
    assert any(ref.startswith("torch@") for ref in needs[own])
    assert any(ref.startswith("sqlalchemy@") for ref in needs[f"optuna@{version('optuna')}"])
    licensed = [own for own in found["components"] if own.get("licenses")]
    assert len(licensed) > 0.8 * len(listed)


def test_licences_are_named_as_each_package_says_them() -> None:
    head = "Metadata-Version: 2.4\nVersion: 1\nName: "
    packages = [
        Written(
            f"{head}{PRODUCT}\nLicense-Expression: Apache-2.0\nRequires-Dist: one\nRequires-Dist: gone\n"
        ),
        Written(f"{head}one\nClassifier: License :: OSI Approved :: MIT License\n"),
        Written(f"{head}two\nLicense: {'a whole text ' * 20}\n"),
        Written(f"{head}One\nVersion: 2\n"),  # a second one of a name is never imported
    ]
    found = json.loads(bill_of_materials(packages))
    assert found["metadata"]["component"]["licenses"][0]["license"]["id"] == "Apache-2.0"
    assert [(own["name"], "licenses" in own) for own in found["components"]] == [
        ("one", True),
        ("two", False),
    ]
    assert {own["ref"]: own.get("dependsOn") for own in found["dependencies"]} == {
        f"{PRODUCT}@1": ["one@1"],
        "one@1": None,
        "two@1": None,
    }


def test_what_the_schema_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bill_of_materials.JsonStrictValidator.validate_str", lambda self, text: "no version")
    with pytest.raises(SchemaError, match=r"CycloneDX 1\.6 refuses the bill of materials: no version"):
        bill_of_materials(of_product())


def test_an_installation_without_the_product_is_said() -> None:
    with pytest.raises(ValueError, match="is not installed; install it"):
        bill_of_materials([])
