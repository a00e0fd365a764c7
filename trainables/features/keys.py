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

from trainables.config.feature_storage import FeatureStorage, Kind
from trainables.models.stages import Backbone

FORMAT: Final = 4  # raise it when the meaning of stored features changes; older ones are then never read


def kind_of(backbone: Backbone, storage: FeatureStorage) -> Kind:
    """Return the number type of a backbone's features.

    Statistics without weights are few, and some hardly differ between images: an energy of 0.9 that spreads
    by 0.001 has two values a spread in half precision, so that a head on them would see other numbers in the
    search than in the exported file. They keep single precision.

    Args:
        backbone: The backbone.
        storage: How the user wants features to be stored.

    >>> from trainables.models.registry import backbone_named
    >>> [kind_of(backbone_named(name), "float16") for name in ("vgg16", "texture")]
    ['float16', 'float32']
    """
    return "float32" if storage == "off" or backbone.is_fixed else storage


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
