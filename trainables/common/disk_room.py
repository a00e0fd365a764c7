"""How much of a disk must be free, wherever that is asked: by `doctor`, by `cluster check`, on the pages."""

from typing import Final

FOR_INSTALLATION_GIB: Final = 15  # environment with CUDA, and what pip unpacks meanwhile; 7 GB stay taken
FOR_RUNS_GIB: Final = 2  # where everything is installed
