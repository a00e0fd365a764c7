"""What the process of a fold needs: whoever imports this module has imported that.

A server imports it once, and the processes of folds are forked from that. The compiler of torch is among it,
since the first step of an optimiser imports it.
"""

from trainables.common.imports import import_at_start

import_at_start(
    (
        "torch",
        "torch._dynamo",
        "trainables.models.torchvision_library",
        "trainables.models.timm_library",
        "trainables.validation.fold_process",
    )
)
