"""A run of two small trials of a net from scratch, to be refitted, and what its tests share."""

from finished_run import CONFIGS, TASK, make_run

from results.ensembles.build import build_ensembles
from results.run.records import TrialRecord
from trainables.config.tasks import task_named
from trainables.data.patches import open_patch_set
from trainables.data.split_record import read_split
from trainables.data.training_data import training_data_of

SCRATCH = {
    **CONFIGS[0],
    "model.head.dropout": 0.3,
    "optimizer.schedule": "cosine",
    "training.augment_last": 1,
}
EPOCHS = 2  # of the search
CHOSEN = 1  # by cross-validation


def searched_run(folder):
    """A run of two trials; each knows the epoch that was chosen for it."""
    run = make_run(folder, {0: SCRATCH, 1: CONFIGS[0]}, epochs=EPOCHS)
    context = {
        "backbones": [],
        "from_scratch": ["scratch4"],
        "fine_tunes": {},
        "flattens": {},
        "levels": {},
        "adapts_channels": [],
        "augmentations": [],
        "sizes_px": {},
        "epochs": EPOCHS,
        "images": 32,
    }
    run.write_search(run.search().model_copy(update={"space_context": context, "backbones": ("scratch4",)}))
    for number in (0, 1):
        update(run, number, best_epoch=CHOSEN)
    build_ensembles(run, methods=("average",), seed=0)
    return run


def update(run, number, **fields):
    record = run.record(number)
    run.write_record(TrialRecord.model_validate(record.model_dump() | fields))


def material_of(run):
    search = run.search()
    patches = open_patch_set(*search.data_location)
    return training_data_of(patches, task_named(TASK), read_split(run.split_file))
