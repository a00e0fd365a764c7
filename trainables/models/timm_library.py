"""timm, imported without the experiment tracker that its training scripts write to, or torch's compiler.

`timm.utils` imports wandb wherever that is installed. That takes two thirds of a second whenever a worker
starts and makes temporary folders, which stay behind where it is killed. All code takes timm from this
module, inside functions: timm itself takes a second or two, and a worker whose features are stored builds
no network.
"""

import sys

from trainables.common.late_compiler import without_compiler

_TRACKER = "wandb"

_hides_it = _TRACKER not in sys.modules
if _hides_it:
    sys.modules[_TRACKER] = None  # type: ignore[assignment]  # Python's way to say that a module cannot be imported
try:
    with without_compiler():
        import timm
finally:
    if _hides_it:
        del sys.modules[_TRACKER]

__all__ = ["timm"]
