"""Pretrained weights of a search on machines that do not have them: which files, and under which names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.tuning.invoice import WeightsOffer
from results.run.records import SearchRecord
from trainables.common.files import is_seen_folder
from trainables.models.timm_generic import FAMILY as TIMM
from trainables.models.weights import WeightsFile, take_inventory

_NOTES: Final = ".yaml"


def usable_files(search: SearchRecord) -> dict[str, WeightsFile]:
    """Return backbone -> the file on this machine that a search was started with; others are left out."""
    folder = search.request.weights_dir
    inventory = take_inventory(
        tuple(search.weights),
        weights_dir=folder if folder is not None and is_seen_folder(folder) else None,
        may_download=False,
    )
    return {
        name: file
        for name, file in inventory.usable.items()
        if file is not None and file.sha256 == search.weights[name]
    }


def offers(search: SearchRecord) -> dict[str, WeightsOffer]:
    """Return backbone -> what another machine needs to know to ask for its weights."""
    return {name: _offer(name, file.path) for name, file in usable_files(search).items()}


def link_weights(files: Mapping[str, Path], folder: Path) -> None:
    """Fill a folder with links by whose names `--weights-dir` finds the weights of backbones.

    Args:
        files: Backbone -> file of its weights, with its notes beside it.
        folder: Folder to fill; it is created.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        for source in (path, path.with_suffix(_NOTES)):
            if source.is_file():
                link = folder / name_in_folder(name, source)
                link.unlink(missing_ok=True)
                link.symlink_to(source.resolve())


def name_in_folder(backbone: str, path: Path) -> str:
    """Return the name by which `--weights-dir` finds a file of weights.

    >>> name_in_folder("vgg16", Path("vgg16-397923af.pth")), name_in_folder("timm:vit_tiny", Path("a.pt"))
    ('vgg16.pth', 'vit_tiny.pt')
    """
    return f"{backbone.removeprefix(f'{TIMM}:')}{path.suffix}"


def _offer(backbone: str, path: Path) -> WeightsOffer:
    notes = path.with_suffix(_NOTES)
    return WeightsOffer(
        name_in_folder(backbone, path), path.stat().st_size, notes.read_bytes() if notes.is_file() else None
    )
