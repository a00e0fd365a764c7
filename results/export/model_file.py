"""`model.onnx` as a file: what it says about itself, and whether a manifest says the same.

Classes, threshold, range of pixels, preparation, calibration, and what warns of its predictions are written
into the file, so that its SHA-256 covers them: a manifest that was edited, or taken from another bundle, is
refused and does not call malignant benign.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from results.errors import ExportError
from results.export.manifest import Manifest

_PREFIX: Final = "orchestrate."
_TYPES: Final = {"int32": "tensor(int32)", "float32": "tensor(float)"}


def facts_of(manifest: Manifest) -> dict[str, str]:
    """Return what a model file says about itself: key -> JSON text."""
    content = manifest.model_dump(mode="json")
    facts = {name: content[name] for name in ("task", "classes", "positive", "threshold", "calibration")}
    facts |= {name: content[name] for name in ("unit", "triage", "preparation", "novelty", "is_synthetic")}
    of_input = ("dtype", "channels", "max_value", "whites_of_16", "trained_shape", "from_files")
    facts |= {name: content["input"][name] for name in of_input}
    facts |= {"precision": None if manifest.precision is None else manifest.precision.name}
    facts |= {"input": manifest.input.name, "extra_inputs": [extra.name for extra in manifest.extra_inputs]}
    return {f"{_PREFIX}{name}": json.dumps(value) for name, value in facts.items()}


def describe_model(path: Path, manifest: Manifest) -> None:
    """Write the facts of a manifest into a model file, and remove what the exporter noted about this machine.

    The exporter leaves its own source paths, and with them a user's name, at every node.

    Args:
        path: The ONNX file, changed in place.
        manifest: Manifest whose `sha256` is not known yet.
    """
    replace_notes(path, facts_of(manifest))


def replace_notes(path: Path, facts: Mapping[str, str]) -> None:
    """Remove what the exporter noted in a model file, most of a small one, and write facts in its place.

    Args:
        path: The ONNX file, changed in place.
        facts: Key -> text.
    """
    import onnx

    model = onnx.load(path)
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        _strip(graph)
    del model.metadata_props[:]
    model.doc_string = ""
    onnx.helper.set_model_props(model, dict(facts))
    onnx.save(model, path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_model(session: Any, manifest: Manifest, path: Path) -> None:
    """Refuse a manifest that does not describe its model.

    Args:
        session: Session of ONNX Runtime with the model.
        manifest: Manifest beside it.
        path: Path of the model, for the message.

    Raises:
        ExportError: If inputs or output differ, or the facts that the file holds; bundles of earlier versions
            hold none.
    """
    for fault in (*_faults_of_ports(session, manifest), *_faults_of_facts(session, manifest)):
        raise ExportError(
            f"{path.parent / 'manifest.json'} does not describe {path.name}: {fault}. It was edited, or "
            "belongs to another model; export the bundle again"
        )


def _faults_of_ports(session: Any, manifest: Manifest) -> Iterator[str]:
    image = manifest.input
    extra = {one.name: _TYPES[one.dtype] for one in manifest.extra_inputs}
    wanted = {image.name: _TYPES[image.dtype]} | extra
    found = {port.name: port for port in session.get_inputs()}
    if {name: port.type for name, port in found.items()} != wanted:
        takes = ", ".join(f"{name} {port.type}" for name, port in found.items())
        yield f"the model takes {takes}, the manifest says {', '.join(map(' '.join, wanted.items()))}"
        return
    rank = len(found[image.name].shape)
    if rank != (3 if image.channels == 1 else 4):
        yield f"the model's images have {rank} dimensions, the manifest says {image.channels} channel(s)"
    width = session.get_outputs()[0].shape[-1]
    further = 0 if manifest.unit == "image" else 1  # the attention of an image
    if isinstance(width, int) and width != len(manifest.classes) + further:
        yield f"the model knows {width - further} classes, the manifest {len(manifest.classes)}"


def _faults_of_facts(session: Any, manifest: Manifest) -> Iterator[str]:
    held: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    if not any(name.startswith(_PREFIX) for name in held):
        return
    for name, said in facts_of(manifest).items():
        if name in held and json.loads(held[name]) != json.loads(said):
            yield f"{name.removeprefix(_PREFIX)} is {held[name]} in the model and {said} in the manifest"


def _strip(graph: Any) -> None:
    """Remove notes and paths of the exporter from a graph or a function, and from the graphs within."""
    graph.doc_string = ""
    del graph.metadata_props[:]
    named = [*graph.value_info]
    if hasattr(graph, "initializer"):  # of a function, inputs and outputs are names alone
        named += [*graph.initializer, *graph.input, *graph.output]
    for value in named:
        value.doc_string = ""
        del value.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _strip(inner)
