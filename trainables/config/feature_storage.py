"""Number types in which features of frozen layers may be stored."""

from typing import Literal

Kind = Literal["float16", "float32"]
FeatureStorage = Literal["float16", "float32", "off"]
