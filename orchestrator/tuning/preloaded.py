"""What the first trials import, most of it slow: whoever imports this module has imported that.

Ray lets its workers import modules by name while the search is still being prepared, all of them at once: one
a core, beside the driver. On a machine of two cores the first trial came seconds later so than where the
second worker waits for the first one.
"""

import os
from typing import Final

from trainables.common.imports import import_at_start
from trainables.common.turns import in_turn

_LONGEST_WAIT: Final = 60.0  # seconds

with in_turn("imports", at_once=max(1, (os.cpu_count() or 1) // 2), seconds=_LONGEST_WAIT):
    import_at_start(
        (
            "orchestrator.tuning.trial_runner",
            "sklearn.linear_model",
            "torchvision.models",
            "trainables.models.timm_library",
        )
    )
