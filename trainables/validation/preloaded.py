"""What the process of a fold needs: whoever imports this module has imported that.

A server imports it once, and the processes of folds are forked from that.
"""

from trainables.common.imports import import_at_start

import_at_start(
    ("torch", "torchvision.models", "trainables.models.timm_library", "trainables.validation.fold_process")
)
