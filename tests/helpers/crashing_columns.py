"""Columns of an example that end the process that reads them, as a decoder that crashes does."""

import os
from typing import Any


class CrashingColumns(dict[str, Any]):
    """Looks like the columns of an example until a process prepares it."""

    def get(self, key: str, default: Any = None) -> Any:
        os._exit(3)
