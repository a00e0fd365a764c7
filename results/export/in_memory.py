"""A model of a run that predicts as its exported bundle would, without a file: same checks, same numbers."""

from results.ensembles.ensemble import BEST
from results.export.exported_model import Bundle
from results.export.manifest_draft import manifest_draft
from results.export.novelty import novelty_facts, with_novelty
from results.export.torch_session import TorchSession
from results.predictors.loading import open_model
from results.predictors.novelty_features import novelty_of
from results.run.run_folder import RunFolder
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.runtime.devices import available_device

_NO_OPSET = 1  # there is no file


def model_in_memory(
    run: RunFolder,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    refit: bool = False,
    operation: Operation = NOTHING_ASKED,
    has_novelty: bool = False,
) -> Bundle:
    """Open a model of a run for prediction of images that the search has not seen.

    Args:
        run: Folder of the search; its data must still be in the store.
        ensemble: Name of a method, `best_single` or `best`; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Take the models that were trained on the whole training part.
        operation: What is asked of its decisions.
        has_novelty: Let it tell how unlike the training images an image is, where it can, as its export does.

    Returns:
        A bundle that lies in no folder. Since there is no file, its manifest has a parity of 0 images and a
        hash of zeros.

    Raises:
        ExportError: If a member is a classical model, which has no module.
        OrchestrateError: If the model was not built, or data, weights or pretrained files are missing.
    """
    opened = open_model(run, ensemble=ensemble, trial=trial, refit=refit, operation=operation)
    kept = run.out_of_fold(opened.chosen.trials[0])
    novelty = novelty_of(run, opened) if has_novelty else None
    manifest = manifest_draft(run, opened, kept, _NO_OPSET).model_copy(
        update={"novelty": novelty_facts(novelty)}
    )
    device = available_device()
    images = TorchSession(with_novelty(opened.module.by_image, novelty, ())[0], device)
    if opened.unit == "image":
        return Bundle(manifest, images)
    return Bundle(manifest, images, TorchSession(opened.module.by_unit, device))
