"""Command lines of orchestrate, as a cluster tells them apart."""

from typing import Final

# What stands before the verb in what a cluster is told to run, which those of earlier versions know too, and
# which nobody types; then what is typed.
MODULE: Final = "-m orchestrator.cli.main"
PROGRAMS: Final = (MODULE, "-m orchestrator", "orchestrate")
# Verbs that run trials on Ray and hold a run folder, whoever has typed them and where.
SEARCHES: Final = ("search", "resume", "nest", "repeat")
# Verbs that are not submitted to a cluster; any other may be, and ends with the Ray that it was submitted to.
STAY_HERE: Final = ("cluster", "submit", "attach", "status", "stop", "fetch", "completion")


def typed_part(command: str) -> str:
    """Return a command line of orchestrate from its verb on; the whole one if it is none.

    >>> typed_part("/venv/bin/python -m orchestrator.cli.main search idc --name first")
    'search idc --name first'
    """
    for program in PROGRAMS:
        _, found, typed = command.partition(f"{program} ")
        if found:
            return typed
    return command
