"""What the first trials import, most of it slow: whoever imports this module has imported that.

Ray lets its workers import modules by name while the search is still being prepared.
"""

from trainables.common.imports import import_at_start

import_at_start(
    (
        "orchestrator.tuning.trial_runner",
        "sklearn.linear_model",
        "torchvision.models",
        "trainables.models.timm_library",
    )
)
