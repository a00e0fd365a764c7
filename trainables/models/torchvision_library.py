"""torchvision, imported without torch's compiler: see `trainables.common.late_compiler`.

All code takes torchvision from this module, inside functions: a worker whose features are stored builds no
network.
"""

from trainables.common.late_compiler import without_compiler

with without_compiler():
    from torchvision import models

__all__ = ["models"]
