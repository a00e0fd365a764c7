"""Command lines of orchestrate, as a cluster tells them apart."""

from typing import Final

# What stands before the verb: of what a cluster is told to run, of that of earlier versions, and as typed.
MODULE: Final = "-m orchestrator"
PROGRAMS: Final = (MODULE, "-m orchestrator.cli.main", "orchestrate")
# Verbs that run trials on Ray and hold a run folder, whoever has typed them and where.
SEARCHES: Final = ("search", "resume", "nest", "repeat")
# Verbs that are not submitted to a cluster; any other may be, and ends with the Ray that it was submitted to.
STAY_HERE: Final = ("cluster", "submit", "attach", "status", "stop", "fetch", "completion")


def typed_part(command: str) -> str:
    """Return a command line of orchestrate from its verb on; the whole one if it is none.

    >>> typed_part("/venv/bin/python -m orchestrator search idc --name first")
    'search idc --name first'
    """
    for program in PROGRAMS:
        _, found, typed = command.partition(f"{program} ")
        if found:
            return typed
    return command
