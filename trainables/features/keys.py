"""Cache keys of stored features.

Any difference in data, rows, backbone, weights, transform, number type or format gives another key and
thereby another folder, so that features of one are never read for another.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainables.config.feature_storage import Kind

FORMAT: Final = 4  # raise it when the meaning of stored features changes; older ones are then never read


def rows_digest(rows: NDArray[np.int64]) -> str:
    """SHA-256, in hexadecimal, of rows of a patch set, in order."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype="<i8").tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class PrefixKey:
    """Key of stored features: everything that they depend on, besides view and tap.

    Attributes:
        fingerprint: Fingerprint of the patch set.
        rows: Rows of the patch set, in order, shape (images,).
        backbone: Name of the backbone.
        weights: Hash of the weights file, or `random`.
        transform: Settings of the pixel transform, from `TransformSpec.as_key()`.
        kind: Number type of the stored features; those that float16 cannot hold are stored in float32.
    """

    fingerprint: str
    rows: NDArray[np.int64]
    backbone: str
    weights: str
    transform: dict[str, object]
    kind: Kind = "float16"

    def describe(self) -> dict[str, object]:
        """Plain values that are hashed into the digest."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "rows": rows_digest(self.rows),
            "images": len(self.rows),
            "backbone": self.backbone,
            "weights": self.weights,
            "transform": self.transform,
        }

    def digest(self) -> str:
        """Name of the key's folder."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]
