"""The inputs of a bundle's file, as its manifest describes them."""

from typing import Annotated, Final, Literal

from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from trainables.common.frozen import FrozenModel
from trainables.data.declared_whites import in_words
from trainables.data.from_files import FromFiles

_LARGEST_RAW: Final = 65535  # of images of 16 bits


class ModelInput(FrozenModel):
    """The image input of the file.

    Attributes:
        name: Name of the graph's input.
        dtype: Number type: int32 for 8 and 16 bit images, float32 for images in [0, 1].
        channels: Number of channels: 1 for shape (B, H, W); 3 for (B, H, W, 3) in the order red, green, blue.
        max_value: Largest raw value of the range that the training images use, such as 255, 4095 or 65535; 1
            for floats.
        whites_of_16: Values that are white in files of 16 bits that do not state it, ascending, from 1 to
            `max_value`, to which they are scaled; several where training images differ in it; empty where no
            training image is of that kind, and in bundles of earlier versions, which take `max_value`.
        trained_shape: Shape of the images of the search, (H, W) or (H, W, 3). `from_files` says how files of
            other sizes are brought to it; without that the model resizes them.
        how_to_feed: Description of the input in a sentence.
        from_files: Sizes of the training files, and how their images were resized, which a prediction
            repeats; None where the training images are no files, and in bundles of earlier versions.
    """

    name: str
    dtype: Literal["int32", "float32"]
    channels: Literal[1, 3]
    max_value: FiniteFloat = Field(gt=0)
    trained_shape: tuple[PositiveInt, ...]
    how_to_feed: str
    whites_of_16: tuple[Annotated[FiniteFloat, Field(ge=1)], ...] = ()
    from_files: FromFiles | None = None

    @property
    def resized(self) -> Literal["as read", "in range"] | None:
        """Where files of another size are resized as the training images were; None where they are not."""
        return None if self.from_files is None else self.from_files.resized

    @model_validator(mode="after")
    def _fits_together(self) -> "ModelInput":
        if self.dtype == "int32" and not (self.max_value.is_integer() and self.max_value <= _LARGEST_RAW):
            raise ValueError(
                f"max_value must be a whole number up to {_LARGEST_RAW} for int32, found {self.max_value:g}"
            )
        if self.whites_of_16 and (self.dtype == "float32" or max(self.whites_of_16) > self.max_value):
            raise ValueError(
                f"whites_of_16 must be up to max_value, {self.max_value:g}, and for int32 alone, found "
                f"{in_words(self.whites_of_16)} for {self.dtype}"
            )
        if self.resized is not None and self.dtype == "float32":
            raise ValueError("from_files cannot be resized for float32, as whole numbers are")
        if len(self.trained_shape) != (2 if self.channels == 1 else 3):
            raise ValueError(
                f"trained_shape must be (H, W), and (H, W, 3) for 3 channels, found {self.trained_shape} for "
                f"{self.channels}"
            )
        return self


class ExtraInput(FrozenModel):
    """An input of the file besides the images.

    Attributes:
        name: Name of the graph's input: `baseline`, images of the same shape and type; or `finding_type`,
            shape (B,).
        dtype: Number type of the input.
        how_to_feed: Description of the input in a sentence.
    """

    name: Literal["baseline", "finding_type"]
    dtype: Literal["int32", "float32"]
    how_to_feed: str
