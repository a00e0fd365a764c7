"""`python -m orchestrator`: the command `orchestrate`, of the Python that runs it."""

import sys

from orchestrator.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
