"""Files beside the model of a bundle that are read with it: the manifest holds their digests."""

from pathlib import Path

from results.errors import ExportError
from results.export.manifest import COMPANIONS, Manifest
from results.export.model_file import sha256_of


def digests_of_companions(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each companion in the folder of a bundle: file -> hexadecimal digits."""
    return {name: sha256_of(folder / name) for name in COMPANIONS if (folder / name).is_file()}


def check_companions(folder: Path, manifest: Manifest) -> None:
    """Refuse companions that are not those of the export; one that is gone is not missed before it is needed.

    Raises:
        ExportError: If one was changed.
    """
    for name, wanted in manifest.companions.items():
        file = folder / name
        if name in COMPANIONS and file.is_file() and sha256_of(file) != wanted:
            raise ExportError(
                f"{file} is not the file that was exported: its SHA-256 is not that of the manifest; copy "
                "the bundle again, or export it again"
            )
