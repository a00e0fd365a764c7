"""How features of frozen layers are kept: the number types that the store knows."""

from typing import Literal

Kind = Literal["float16", "float32"]
FeatureStorage = Literal["float16", "float32", "off"]
