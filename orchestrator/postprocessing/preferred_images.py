"""The image that a model of a run prefers for each class, as a picture: activation maximisation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from results.ensembles.ensemble import BEST
from results.errors import ExportError
from results.relevance.explained_folder import check_replaced
from results.relevance.pictures import plain_picture
from results.run.run_folder import RunFolder
from trainables.common.files import write_atomically

if TYPE_CHECKING:  # torch takes seconds to import
    from results.predictors.loading import OpenedModel


def write_preferred(
    run: RunFolder,
    folder: Path,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    refit: bool = False,
    seed: int = 0,
    inputs: Sequence[Path] = (),
) -> list[Path]:
    """Write `preferred-CLASS.png` for each class of a model.

    Args:
        run: Folder of the search; its data must still be in the store.
        folder: Folder to write; it is made if it is missing.
        ensemble: Name of a method, `best_single` or `best`; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Take the models that were trained on the whole training part.
        seed: Seed of the noise that the images grow from.
        inputs: Files that were explained before, which are not replaced.

    Returns:
        The files, in the order of the classes.

    Raises:
        ExportError: If the model takes more than an image, or a picture would replace an input or a file of
            another program.
        ConfigError: If the model has no gradient.
    """
    from results.predictors.loading import open_model

    opened = open_model(run, ensemble=ensemble, trial=trial, refit=refit)
    needs = opened.module.members.needs
    if needs.baseline or needs.finding_type:
        raise ExportError("this model takes more than an image, so it prefers none by itself")
    files = [folder / f"preferred-{name}.png" for name in opened.chosen.classes]
    check_replaced(files, inputs)
    for label, file in enumerate(files):
        _write(opened, file, label, seed)
    return files


def _write(opened: "OpenedModel", file: Path, label: int, seed: int) -> None:
    from results.predictors.explained_model import ExplainedModel
    from trainables.relevance.preferred_image import preferred_image

    patch_set = opened.patch_set
    found, _ = preferred_image(
        ExplainedModel(opened.module, {}),
        tuple(patch_set.images.shape[1:]),
        label,
        max_value=patch_set.max_value,
        seed=seed,
    )
    write_atomically(file, plain_picture(found, max_value=patch_set.max_value))
