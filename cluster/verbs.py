"""Command lines of orchestrate, as a cluster tells them apart."""

from typing import Final

# What stands before the verb in what a cluster is told to run, which those of earlier versions know too, and
# which nobody types; then what is typed.
MODULE: Final = "-m orchestrator.cli.main"
PROGRAMS: Final = (MODULE, "-m orchestrator", "orchestrate")
# Verbs that run trials on Ray and hold a run folder, whoever has typed them and where.
SEARCHES: Final = ("search", "resume", "nest", "repeat")
# Those of them that run searches within one that has ended.
WITHIN: Final = ("nest", "repeat")
# Seconds that a search may take to end as by Ctrl-C: it closes its files, and trackers and copies follow.
STOP_SECONDS: Final = 600
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


def verb_in(command: str) -> str:
    """Return the verb of a command line of orchestrate; empty if it is none.

    >>> verb_in("/venv/bin/python /venv/bin/orchestrate nest first"), verb_in("/venv/bin/python mine.py")
    ('nest', '')
    """
    typed = typed_part(command)
    return "" if typed == command else typed.partition(" ")[0]
