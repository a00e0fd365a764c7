"""Values of TensorBoard's plugins: graphs, histograms, precision-recall curves and the projector.

They are put together from TensorBoard's own protocol buffers, without TensorFlow.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from tensorboard.compat.proto import event_pb2, graph_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.pr_curve import metadata as curve_metadata

from trainables.common.files import write_atomically
from trainables.common.types import Float32Array, FloatArray, IntArray

_BUCKETS: Final = 30
_THRESHOLDS: Final = 101


def graph_event(layers: Sequence[Any], *, seconds: float) -> event_pb2.Event:
    """Return a graph of layers, each of which follows the one before.

    Args:
        layers: Layers with `name`, `kind`, `parameters` and `shape`; a name is a path, which is folded.
        seconds: Time of the event.
    """
    nodes, before = [], ""
    for layer in layers:
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=-1), *map(_dim, layer.shape)])
        said = f"{layer.parameters:,} weights".encode()
        nodes.append(
            NodeDef(
                name=layer.name,
                op=layer.kind,
                input=[before] if before else [],
                attr={
                    "_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[shape])),
                    "weights": AttrValue(s=said),
                },
            )
        )
        before = layer.name
    graph = graph_pb2.GraphDef(node=nodes)
    return event_pb2.Event(wall_time=seconds, graph_def=graph.SerializeToString())


def histogram_value(tag: str, values: FloatArray) -> summary_pb2.Summary.Value:
    """Return the distribution of some numbers, shape (n,), n at least 1."""
    finite = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(finite, bins=_BUCKETS)
    buckets = np.stack([edges[:-1], edges[1:], counts.astype(np.float64)], axis=1)
    return _tensor_value(
        tag, buckets, histogram_metadata.create_summary_metadata(tag, ""), types_pb2.DT_DOUBLE
    )


def pr_curve_value(tag: str, labels: IntArray, scores: FloatArray) -> summary_pb2.Summary.Value:
    """Return the counts of a precision-recall curve at equal steps of the threshold.

    Args:
        tag: Tag of the curve.
        labels: 1 for positive images, else 0, shape (images,).
        scores: Probability of being positive, in [0, 1], shape (images,).
    """
    thresholds = np.linspace(0.0, 1.0, _THRESHOLDS)
    called = scores[:, None] >= thresholds
    positive = (labels == 1)[:, None]
    hits, alarms = (called & positive).sum(axis=0), (called & ~positive).sum(axis=0)
    missed, right = (~called & positive).sum(axis=0), (~called & ~positive).sum(axis=0)
    precision = hits / np.maximum(hits + alarms, 1)
    recall = hits / np.maximum(hits + missed, 1)
    rows = np.stack([hits, alarms, right, missed, precision, recall]).astype(np.float32)
    kind = curve_metadata.create_summary_metadata(
        tag, "Out-of-fold predictions, all folds together.", _THRESHOLDS
    )
    return _tensor_value(tag, rows, kind, types_pb2.DT_FLOAT)


def write_projector(
    folder: Path,
    name: str,
    features: Float32Array,
    columns: Mapping[str, Sequence[object]],
    sprites: tuple[bytes, int] | None,
) -> None:
    """Write points for the projector: their coordinates, what is known of each, and small pictures.

    Args:
        folder: Folder of a TensorBoard run.
        name: Name of the points.
        features: Coordinates, shape (points, D).
        columns: Header -> value of each point.
        sprites: PNG file with the pictures in rows from left to right, and the side of one in pixels; None
            for no pictures.

    Raises:
        OSError: If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = "\n".join("\t".join(f"{value:.5g}" for value in row) for row in features.tolist())
    write_atomically(folder / "features.tsv", f"{lines}\n")
    rows = zip(*columns.values(), strict=True)
    table = ["\t".join(columns), *("\t".join(_cell(value) for value in row) for row in rows)]
    write_atomically(folder / "points.tsv", "\n".join(table) + "\n")
    said = [f'tensor_name: "{name}"', 'tensor_path: "features.tsv"', 'metadata_path: "points.tsv"']
    if sprites is not None:
        content, side = sprites
        write_atomically(folder / "pictures.png", content)
        said.append(
            f'sprite {{ image_path: "pictures.png" single_image_dim: {side} single_image_dim: {side} }}'
        )
    write_atomically(folder / "projector_config.pbtxt", f"embeddings {{ {' '.join(said)} }}\n")


def sprite_sheet(pictures: Sequence[Any], side: int) -> bytes:
    """Return pictures of equal size, (side, side) or (side, side, 3), as one square PNG file, row by row."""
    import cv2

    across = math.ceil(math.sqrt(len(pictures)))
    sheet = np.zeros((across * side, across * side, 3), dtype=np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (place // across) * side, (place % across) * side
        sheet[top : top + side, left : left + side] = picture if picture.ndim == 3 else picture[..., None]
    return bytes(cv2.imencode(".png", sheet)[1].tobytes())


def _tensor_value(
    tag: str, values: Any, kind: summary_pb2.SummaryMetadata, dtype: int
) -> summary_pb2.Summary.Value:
    shape = TensorShapeProto(dim=[_dim(size) for size in values.shape])
    tensor = tensor_pb2.TensorProto(dtype=dtype, tensor_shape=shape, tensor_content=values.tobytes())
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=kind)


def _dim(size: int) -> TensorShapeProto.Dim:
    return TensorShapeProto.Dim(size=int(size))


def _cell(value: object) -> str:
    return " ".join(str(value).split()) or "-"
