"""What the workers of a search did with their time: one line for each session, the first and each resume."""

import datetime
import json

from pydantic import Field, FiniteFloat, ValidationError

from results.run.run_folder import RunFolder
from trainables.common.appending import append_line
from trainables.common.frozen import FrozenModel


class SessionTime(FrozenModel):
    """A line of `sessions.jsonl`: seconds of all workers of one session together.

    Attributes:
        started_at: Time when trials could begin, with time zone.
        ended_at: Time when the last of them had ended, with time zone.
        workers: Number of trials at once at the end; where machines joined or left it was another before.
        features: Seconds of reading, computing and copying stored features.
        training: Seconds of all else that workers did for trials.
        waiting: Seconds of workers without a trial, or that waited for features of another one.
    """

    started_at: datetime.datetime
    ended_at: datetime.datetime
    workers: int = Field(ge=0)
    features: FiniteFloat = Field(ge=0.0)
    training: FiniteFloat = Field(ge=0.0)
    waiting: FiniteFloat = Field(ge=0.0)


def add_session(run: RunFolder, session: SessionTime) -> None:
    """Append a session to its run.

    Raises:
        OSError: If it cannot be written; the file is then as it was before.
    """
    append_line(run.sessions_file, session.model_dump_json())


def read_sessions(run: RunFolder) -> list[SessionTime]:
    """Return the sessions of a run, oldest first; none in runs of earlier versions.

    A line that a killed search has left half written, or a disk has spoilt, is left out: nothing is decided
    by it.
    """
    try:
        lines = run.sessions_file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(SessionTime.model_validate(json.loads(line)))
        except (ValueError, ValidationError, RecursionError):
            continue
    return found
