"""Errors of image files, shared by all readers of them."""

from pathlib import Path

from trainables.common.errors import DataError


class ImageFileError(DataError):
    """An image file that is not read; the message names the file, what was found and what to do."""


class UnreadableImageError(ImageFileError):
    """A file that is damaged or not an image.

    Args:
        path: Path of the file.
        problem: What is wrong with it, as the rest of a sentence that begins with its path.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.problem = problem
