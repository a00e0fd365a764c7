"""A run folder that a worker can open, bright spots and one frozen backbone, and a trial of it."""

from pathlib import Path
from typing import Any

from records import search_record
from split_data import three_folds

from orchestrator.tuning.trial_runner import TrialRunner
from results.run.run_folder import RunFolder
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet
from trainables.data.split_record import write_split

CONTEXT = {
    "backbones": ["efficientnet_lite0"],
    "from_scratch": [],
    "fine_tunes": {"efficientnet_lite0": []},
    "flattens": {},
    "levels": {},
    "adapts_channels": [],
    "augmentations": [],
    "sizes_px": {"efficientnet_lite0": 32},
    "epochs": 6,
    "images": 36,
}
CONFIG = decode(
    {
        "model.backbone": "efficientnet_lite0",
        "input.size_px": 32,
        "model.head.hidden": [8],
        "training.epochs": 6,
        "training.augmentation": "flips",
    }
)


def worker_run(patches: PatchSet, folder: Path, **fields: Any) -> RunFolder:
    """Write split and search of a run on patches whose store lies in `<folder>/store`."""
    run = RunFolder(folder / "runs" / "first")
    write_split(run.split_file, three_folds(patches))
    asked = {"fingerprint": patches.fingerprint, "store": str(folder / "store"), "space_context": CONTEXT}
    run.write_search(search_record(**(asked | fields)))
    return run


def runner(run: RunFolder, config: TrialConfig = CONFIG, **options: Any) -> TrialRunner:
    """Return what runs the first trial of such a run."""
    return TrialRunner(run, 0, config, {"x": 1}, gpus=0.0, cpus=1.0, **options)
