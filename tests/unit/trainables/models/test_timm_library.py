"""timm is imported without the tracker that it would take along, and the tracker stays usable."""

import subprocess
import sys

import pytest


@pytest.mark.long
def test_timm_comes_without_the_tracker_which_is_there_for_who_asks() -> None:
    pytest.importorskip("wandb", reason="timm imports wandb only where that is installed")
    script = (
        "import sys\n"
        "from trainables.models.timm_library import timm\n"
        "assert timm.is_model('resnet18')\n"
        "assert 'wandb' not in sys.modules\n"
        "import wandb\n"
        "print(wandb.__name__)\n"
    )

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ended.stdout == "wandb\n"
