"""ONNX Runtime, imported with its telemetry off. Nothing else imports it.

Its packages for Linux (seen in 1.31) note sessions, models and error messages below the home folder, to be
sent to their maker, unless a variable says no before the library is loaded.
"""

import importlib
import os
from typing import Any, Final

NO_TELEMETRY: Final = "ORT_DISABLE_TELEMETRY"


def load_onnx_runtime() -> Any:
    """Return the module `onnxruntime`; what the user has set in `ORT_DISABLE_TELEMETRY` stays."""
    os.environ.setdefault(NO_TELEMETRY, "1")
    return importlib.import_module("onnxruntime")


onnxruntime: Final[Any] = load_onnx_runtime()
