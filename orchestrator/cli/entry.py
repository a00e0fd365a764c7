"""The command `orchestrate`: Ctrl-C while its modules are still imported is answered as later on."""

import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    try:
        from orchestrator.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        from trainables.common.errors import INTERRUPTED

        print("\norchestrate: interrupted", file=sys.stderr)
        return INTERRUPTED
