"""What stored features are a function of: the names under which they are kept.

Any difference in data, rows, backbone, weights, transform, number type or format is another key and thereby
another folder, so features of one are never read for another.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainables.config.feature_storage import Kind

FORMAT: Final = 4  # raise it when the meaning of stored features changes; older ones are then never read


@dataclass(frozen=True, slots=True)
class PrefixKey:
    """What the features are a function of, besides view and tap.

    Attributes:
        fingerprint: Of the patch set.
        rows: Rows of the patch set, in order, shape (images,).
        backbone: Name.
        weights: Hash of the weights file.
        transform: `TransformSpec.as_key()`.
        kind: Number type they are stored in; features that float16 cannot hold are in float32 all the same.
    """

    fingerprint: str
    rows: NDArray[np.int64]
    backbone: str
    weights: str
    transform: dict[str, object]
    kind: Kind = "float16"

    def describe(self) -> dict[str, object]:
        """Plain values that are hashed."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "rows": hashlib.sha256(np.ascontiguousarray(self.rows, dtype="<i8").tobytes()).hexdigest(),
            "images": len(self.rows),
            "backbone": self.backbone,
            "weights": self.weights,
            "transform": self.transform,
        }

    def digest(self) -> str:
        """Name of the key's folder."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]
