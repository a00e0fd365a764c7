"""What Ray's errors mean: why a worker died, and what the machine refused a search."""

import re
from pathlib import Path
from typing import Any, Final

from orchestrator.study.patience import OutOfPatienceError
from results.run.records import Cause
from results.run.run_folder import RunFolder
from trainables.common.errors import MachineError, OrchestrateError

# Behind the first line, or within it if making the worker raised something, as where a package is missing.
_ACTOR: Final = re.compile(r"\bactor_id[:=] ?([0-9a-f]+)")
# Ray's words for SIGTERM to a worker, for the death of its node, and for a node that left in order.
_TAKEN_AWAY: Final = ("receives a SIGTERM", "its node has died", "node was terminated")


def cause_of_loss(message: str) -> Cause:
    """Tell a kill for lack of memory from any other death of a worker.

    Args:
        message: Ray's error message. For every death it says that the system may have been out of memory;
            only for its own kills it says that the node was "running low on memory".
    """
    return "out_of_memory" if "running low on memory" in message else "lost_worker"


def was_taken_away(message: str) -> bool:
    """True if a worker was asked to end, or its whole machine went, so that the trial has no part in it.

    Args:
        message: Ray's error message.
    """
    return any(sign in message for sign in _TAKEN_AWAY)


def last_words(trial: Any) -> str:
    """Ray's message about the last death of a trial's worker, without the list of all processes.

    Ray puts class, ids and address of the worker between the lines, each indented; what ended it comes after.
    """
    return "\n".join(own_lines(_last_failure(trial))[:3])[:1000] or "the worker process died"


def dead_worker(trial: Any) -> str:
    """Ray's id of the last worker of a trial that died; empty where it is not known."""
    found = _ACTOR.search(_last_failure(trial))
    return found.group(1) if found else ""


def _last_failure(trial: Any) -> str:
    try:
        text = Path(trial.error_file).read_text()
    except (OSError, TypeError):
        return ""
    return "\n".join(text.rpartition("Failure # ")[2].splitlines()[1:])


def own_lines(message: str) -> list[str]:
    """Return the lines of an error of Ray that say what happened; ids and addresses are indented.

    >>> own_lines("The actor died.\\n\\tactor_id: 1\\nThe actor died because its node has died.")
    ['The actor died.', 'The actor died because its node has died.']
    """
    return [line for line in message.splitlines() if line and not line[0].isspace()]


def explained(error: Exception, run: RunFolder) -> Exception:
    """The error of a search as a sentence if a disk or another part of the machine is behind it."""
    if isinstance(error, OutOfPatienceError):
        return MachineError(f"the search had to stop: {error}. Go on with: {run.resume_command}")
    if isinstance(error, OrchestrateError):
        return error
    reason = _failed_call(error)
    if reason is None:
        return error
    return MachineError(f"the search had to stop: {reason}. Mend that, then go on with: {run.resume_command}")


def _failed_call(error: BaseException | None) -> str | None:
    """What the operating system refused, whether as a cause of the error or in Tune's text about one."""
    text = str(error).strip().splitlines()
    while error is not None:
        if isinstance(error, OSError):
            return str(error)
        error = error.__cause__ or error.__context__
    last = text[-1] if text else ""
    return last if "[Errno " in last else None
