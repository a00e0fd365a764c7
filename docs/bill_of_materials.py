"""The software bill of materials of an installation: `python docs/bill_of_materials.py FILE`, or `make sbom`.

What is installed beside the product, with versions, licences and who needs whom, as CycloneDX 1.6 in JSON. It
is made from the metadata of the installed packages alone: nothing is asked of a network.
"""

import json
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

PRODUCT: Final = "breast-image-orchestrator"
_SCHEMA: Final = SchemaVersion.V1_6
_LONGEST_LICENCE: Final = 80  # letters; some packages put the whole text where its name belongs
_PAGES: Final = {"homepage": ExternalReferenceType.WEBSITE, "source": ExternalReferenceType.VCS}


class SchemaError(ValueError):
    """A bill of materials that its own schema refuses."""


def bill_of_materials(found: Iterable[Distribution]) -> str:
    """Return the bill of materials of installed packages, as JSON that its schema accepts.

    Args:
        found: Installed packages; the first of a name counts, as for Python itself.

    Raises:
        SchemaError: If the schema refuses it.
        ValueError: If the product is not among them.
    """
    packages: dict[str, Distribution] = {}
    for package in found:
        packages.setdefault(canonicalize_name(package.metadata["Name"]), package)
    if PRODUCT not in packages:
        raise ValueError(f"{PRODUCT} is not installed; install it, so that its packages can be listed")
    components = {name: _component(name, package) for name, package in sorted(packages.items())}
    bom = Bom(components=[own for name, own in components.items() if name != PRODUCT])
    bom.metadata.component = components[PRODUCT]
    for name, package in packages.items():
        needed = [components[other] for other in _needed(package) if other in components and other != name]
        bom.register_dependency(components[name], needed)
    written = make_outputter(bom, OutputFormat.JSON, _SCHEMA).output_as_string(indent=1)
    fault = JsonStrictValidator(_SCHEMA).validate_str(written)
    if fault is not None:
        raise SchemaError(f"CycloneDX {_SCHEMA.to_version()} refuses the bill of materials: {fault}")
    return written


def _component(name: str, package: Distribution) -> Component:
    licence = _licence(package)
    return Component(
        type=ComponentType.APPLICATION if name == PRODUCT else ComponentType.LIBRARY,
        name=package.metadata["Name"],
        version=package.version,
        bom_ref=f"{name}@{package.version}",
        purl=PackageURL("pypi", name=name, version=package.version),
        description=_field(package, "Summary"),
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        external_references=list(_pages(package)),
    )


def _licence(package: Distribution) -> str | None:
    """The licence: an expression, else that of the classifiers, else a short name."""
    expression = _field(package, "License-Expression")
    if expression:
        return expression
    named = [
        text.rpartition(" :: ")[2]
        for text in package.metadata.get_all("Classifier", [])
        if text.startswith("License :: ") and text != "License :: OSI Approved"
    ]
    if named:
        return named[0]
    text = (_field(package, "License") or "").strip()
    return text if text and len(text) <= _LONGEST_LICENCE and "\n" not in text else None


def _field(package: Distribution, name: str) -> str | None:
    return next(iter(package.metadata.get_all(name) or ()), None)


def _pages(package: Distribution) -> Iterable[ExternalReference]:
    for entry in package.metadata.get_all("Project-URL", []):
        label, _, address = entry.partition(",")
        kind = _PAGES.get(label.strip().lower())
        if kind is not None:
            yield ExternalReference(type=kind, url=XsUri(address.strip()))


def _needed(package: Distribution) -> set[str]:
    """Names of the packages that a package asks for on this machine, those of its extras included."""
    found = set[str]()
    for line in package.requires or ():
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue
        extras = ["", *package.metadata.get_all("Provides-Extra", [])]
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            found.add(canonicalize_name(wanted.name))
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "sbom.json")
    content = bill_of_materials(distributions())
    target.write_text(content)
    print(f"{target}: {len(json.loads(content)['components'])} packages, CycloneDX {_SCHEMA.to_version()}")
