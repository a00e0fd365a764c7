"""What the first trials import, most of it slow: whoever imports this module has imported that.

Ray lets its workers import modules by name while the search is still being prepared, all of them at once, one
for each trial that may run at the same time, beside the driver. On a machine of two cores a first trial came
seconds later so than where the second worker waits for the first one.
"""

from typing import Final

from trainables.common.cores import count_cpus
from trainables.common.imports import import_at_start
from trainables.common.turns import in_turn

_LONGEST_WAIT: Final = 60.0  # seconds

with in_turn("imports", at_once=max(1, count_cpus() // 2), seconds=_LONGEST_WAIT):
    import_at_start(
        (
            "orchestrator.tuning.trial_runner",
            "sklearn.linear_model",
            "trainables.models.torchvision_library",
            "trainables.models.timm_library",
        )
    )
