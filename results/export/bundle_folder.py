"""Folder of a bundle: one that holds nothing yet, filled beside its place and moved there whole."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from results.errors import ExportError
from trainables.common.files import folder_in_progress


def check_free(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        ExportError: If it does, or is a file.
    """
    if out.exists() and not out.is_dir():
        raise ExportError(f"a bundle is a folder, and {out} is a file; give another --out")
    if out.is_dir() and any(out.iterdir()):
        raise ExportError(f"{out} holds files already, and a bundle replaces nothing; give another --out")


@contextmanager
def new_bundle(out: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `out` when all went well, and is removed otherwise.

    Raises:
        ExportError: If nothing can be written there, or `out` was filled in the meantime.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(folder_in_progress(out))
        except OSError as error:
            raise ExportError(
                f"cannot write a bundle to {out}: {error.strerror}: {error.filename}; give another --out"
            ) from error
        yield folder
        try:
            folder.replace(out)
        except OSError as error:
            raise ExportError(f"{out} was filled while the bundle was made; give another --out") from error
