"""A run folder on the head of a cluster, brought to this machine, over what is here of it."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cluster.ssh import Login
from orchestrator.reporting.copied_run import add_openings, draft_of, gone_on_apart, half_of
from results.errors import RunError
from results.run.run_folder import RunFolder
from trainables.common.files import make_private
from trainables.common.notify import Notify

# What tells how far a run is, as patterns of rsync: request, openings of the test part, and records.
_TOLD: Final = ("/search.yaml", "/test_openings.jsonl", "/trials/", "/trials/*/", "/trials/*/record.json")
_HIDDEN: Final = ".*"  # locks, marks and drafts, which are about the machine that they lie on


def fetch_from_head(login: Login, source: str, target: Path, *, say: Notify) -> None:
    """Copy a run from the head of a cluster to a folder of this machine, each file whole or not at all.

    What makes it a run, its search.yaml, comes last, so that no copy which was interrupted is taken for one.
    Of a run that is here already, files that are newer here stay, and all of them where it has trials that
    the head lacks. Openings of the test part are those of both.

    Args:
        login: The way to the head.
        source: Run folder there.
        target: Folder to make, or to complete if it is of the same search.
        say: Told that an earlier copy of another machine's lock is looked at, which takes seconds.

    Raises:
        RunError: If each has trials that the other lacks or has otherwise, another process runs the search
            here, or there is no run.
        RemoteError: If the copy fails; what has been copied stays, and is not sent again.
    """
    run, draft = RunFolder(target), draft_of(RunFolder(target).search_file)
    if not target.exists():
        make_private(target)
    with contextlib.ExitStack() as stack:
        is_first = not run.search_file.is_file()
        if not is_first:
            stack.enter_context(run.exclusive(say))
        there = RunFolder(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        # What is the same here is not sent; by content, since times of two machines may agree by chance.
        same = ("--checksum", f"--copy-dest={target.absolute()}")
        login.fetch(source, there.path, only=_TOLD, options=same)
        if not there.search_file.is_file():
            raise RunError(f"{login.host}:{source} holds no search.yaml any more; was it moved?")
        is_ahead = not is_first and _is_ahead(run, there)
        left_out = [_HIDDEN]
        if is_first:
            half = half_of(run.search_file)
            shutil.copy2(there.search_file, half)  # with the time that it has there, which is compared later
            half.replace(draft)
            left_out.append(f"/{run.search_file.name}")
        if run.openings_file.is_file():
            if there.openings_file.is_file():
                add_openings(run.openings_file, there.openings_file)
            left_out.append(f"/{run.openings_file.name}")
        _copy(login, source, target, left_out, "--ignore-existing" if is_ahead else "--update")
        if is_first:
            draft.replace(run.search_file)
        else:
            draft.unlink(missing_ok=True)  # of an earlier copy that was interrupted


def _copy(login: Login, source: str, target: Path, left_out: Sequence[str], option: str) -> None:
    """Copy the files of a run, records last, since a record means that its trial is whole."""
    login.fetch(source, target, leave_out=(*left_out, "record.json"), options=(option,))
    login.fetch(source, target, leave_out=left_out, options=(option,))


def _is_ahead(run: RunFolder, there: RunFolder) -> bool:
    """Tell whether a run has trials that the head lacks.

    Raises:
        RunError: If each has trials that the other lacks, or one number is another trial there.
    """
    own, ended = (
        {number for number in one.trial_numbers() if one.has_record(number)} for one in (run, there)
    )
    is_apart = bool(own - ended and ended - own)
    if is_apart or any(_is_another(run, there, number) for number in own & ended):
        raise gone_on_apart(run.path)
    return bool(own - ended)


def _is_another(run: RunFolder, there: RunFolder, number: int) -> bool:
    """Tell whether a trial has other settings there; one that was run again has those that it had."""
    own, other = (one.record_file(number).read_bytes() for one in (run, there))
    if own == other:
        return False
    try:
        return bool(json.loads(own)["config"] != json.loads(other)["config"])
    except (ValueError, KeyError, TypeError):  # a damaged one, which verbs name when they read it
        return False
