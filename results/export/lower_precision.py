"""Conversion of an exported graph to a lower precision, by the tools of ONNX Runtime.

The stages of backbones, and the layers of heads but the last, are converted. The pixel transform, pooling,
the last layer of each head, closed-form heads, combination and calibration stay as they are: they cost
nothing, and a pixel of 16 bits or a confident logit would lose its digits.

Source:
    ONNX Runtime, "Create Float16 and Mixed Precision Models" and "Quantize ONNX models": weights and
    activations of 8 bits in the QDQ format, weights per channel and of 7 bits, so that processors without
    VNNI do not saturate.
"""

import ast
import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnx_ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray
from torch import nn

from results.errors import ExportError
from results.export.allowed_change import PrecisionName
from trainables.common.text import first_line
from trainables.inference.shared_backbones import SharedBackbone
from trainables.models.stages import TrainedPart

Feed = Mapping[str, NDArray[Any]]

_WITH_WEIGHTS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# They copy values and compute none: between two converted layers they are converted too.
_MOVES: Final = (
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Gather",
    "Concat",
    "Pad",
)
_SCOPES: Final = "pkg.torch.onnx.name_scopes"
# What a quantised network needs in 8 bits to stay in 8 bits between its layers. Softmax, normalisation and
# products of two activations, as in attention, lose most and gain least.
_QUANTISED: Final = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Relu", "Clip"),
    *(
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "Concat",
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
    ),
)


def convert_graph(
    source: Path,
    target: Path,
    precision: PrecisionName,
    *,
    module: nn.Module,
    calibration: Sequence[Feed] = (),
) -> int:
    """Write a graph whose networks compute in a lower precision.

    Args:
        source: Graph in float32, as `write_onnx` left it, with the exporter's notes on its nodes.
        target: File to write.
        precision: `fp16` or `int8`.
        module: Module that the graph was exported from.
        calibration: Inputs of the graph that `int8` measures the ranges of activations on.

    Returns:
        Number of layers with weights that were converted.

    Raises:
        ExportError: If the graph holds no network, or the tools of ONNX Runtime cannot convert it.
    """
    model = onnx.load(source)
    nodes = _network_nodes(model.graph, module)
    layers = [node for node in model.graph.node if node.name in nodes and node.op_type in _WITH_WEIGHTS]
    if not layers:
        raise ExportError(
            f"no layer of this model can be converted to {precision}: its members have no network, or one "
            "of a single layer; export it without --precision"
        )
    try:
        if precision == "fp16":
            _save_half(model, nodes, target)
        else:
            _quantise(model, nodes, target, calibration)
    except Exception as error:  # the tools raise whatever they meet
        reason = first_line(error)[:200]
        raise ExportError(
            f"ONNX Runtime cannot convert this model to {precision}: {reason}; export it without --precision"
        ) from error
    return len(layers)


def without_output(source: Path, target: Path, output: str) -> None:
    """Write a graph without one of its outputs, and without what only that one needs.

    Args:
        source: The graph.
        target: File to write.
        output: Name of the output to leave out.
    """
    model = onnx_ir.load(source)
    model.graph.outputs[:] = [value for value in model.graph.outputs if value.name != output]
    passes.RemoveUnusedNodesPass()(model)
    onnx_ir.save(model, target)


def _network_nodes(graph: onnx.GraphProto, module: nn.Module) -> set[str]:
    """Names of the nodes to convert."""
    parts = [name for name, part in module.named_modules() if isinstance(part, TrainedPart)]
    networks = [*_stages_with_weights(module), *parts]
    last = _last_layers(graph, [f"{name}.head" for name in parts])
    found: set[str] = set()
    computed: set[str] = set()  # values that converted nodes return
    for node in graph.node:
        is_between = node.op_type in _MOVES and node.input[0] in computed
        if node.name not in last and (is_between or _is_below(node, networks)):
            found.add(node.name)
            computed.update(node.output)
    return found


def _stages_with_weights(module: nn.Module) -> list[str]:
    """Names of the stages of shared backbones that hold weights: sums and filters of texture hold none."""
    return [
        f"{name}.stages.{stage}"
        for name, backbone in module.named_modules()
        if isinstance(backbone, SharedBackbone)
        for stage, layers in backbone.stages.items()
        if any(True for _ in layers.parameters())
    ]


def _is_below(node: onnx.NodeProto, modules: Sequence[str]) -> bool:
    """True if a node was exported from one of these modules, or from a part of one."""
    notes = {note.key: note.value for note in node.metadata_props}
    scopes = ast.literal_eval(notes.get(_SCOPES, "[]"))
    return any(scope == name or scope.startswith(f"{name}.") for scope in scopes for name in modules)


def _last_layers(graph: onnx.GraphProto, heads: Sequence[str]) -> set[str]:
    """Names of the nodes from the last layer of each head on: their values go on in float64."""
    makers = {value: node for node in graph.node for value in node.output}
    found: set[str] = set()
    for cast in graph.node:
        if cast.op_type != "Cast" or _attribute(cast, "to") != onnx.TensorProto.DOUBLE:
            continue
        node = makers.get(cast.input[0])
        while node is not None and _is_below(node, heads):
            found.add(node.name)
            node = None if node.op_type in _WITH_WEIGHTS else makers.get(node.input[0])
    return found


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(one.i) for one in node.attribute if one.name == name), 0)


def _save_half(model: onnx.ModelProto, nodes: set[str], target: Path) -> None:
    """Convert nodes to half precision, with casts where values enter and leave them.

    The converter casts at every value whose type is known and that a blocked node takes or returns. So that
    it casts at the border alone, only types of values at converted nodes are left in, and the graph's own
    inputs and outputs are hidden from it.
    """
    converter = importlib.import_module("onnxruntime.transformers.float16")
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    touched = {value for node in graph.node if node.name in nodes for value in (*node.input, *node.output)}
    known = [value for value in graph.value_info if value.name in touched]
    ports = [list(graph.input), list(graph.output)]
    for field in (graph.value_info, graph.input, graph.output):
        del field[:]
    graph.value_info.extend(known)
    blocked = [node.name for node in graph.node if node.name not in nodes]
    model = converter.convert_float_to_float16(model, disable_shape_infer=True, node_block_list=blocked)
    del model.graph.value_info[:]
    model.graph.input.extend(ports[0])
    model.graph.output.extend(ports[1])
    _remove_repeated_casts(model.graph)
    sorted_model = onnx_ir.from_proto(model)
    passes.TopologicalSortPass()(sorted_model)
    onnx_ir.save(sorted_model, target)


def _remove_repeated_casts(graph: onnx.GraphProto) -> None:
    """Keep one of several casts of the same value: the converter adds one for each node that takes it."""
    kept, returned = [], set[str]()
    for node in graph.node:
        if node.op_type != "Cast" or node.output[0] not in returned:
            kept.append(node)
        returned.update(node.output)
    del graph.node[:]
    graph.node.extend(kept)


def _quantise(model: onnx.ModelProto, nodes: set[str], target: Path, calibration: Sequence[Feed]) -> None:
    tools = importlib.import_module("onnxruntime.quantization")
    with _quiet():
        tools.quantize_static(
            model,
            target,
            _reader(tools, calibration),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            nodes_to_quantize=sorted(nodes),
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=tools.CalibrationMethod.MinMax,
            extra_options={"MatMulConstBOnly": True},
        )


def _reader(tools: Any, calibration: Sequence[Feed]) -> Any:
    """The inputs one by one, in the form that the tools ask for."""

    class Reader(tools.CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds: Iterator[Feed] = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
            feed = next(self.feeds, None)
            return None if feed is None else dict(feed)

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tools' advice to prepare a graph, which `simplify` has done."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
