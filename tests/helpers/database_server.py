"""Database servers of the tests' own: on 127.0.0.1, with a password, not as root, and ended with the test."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from debian_packages import require

USER = "me"
PASSWORD = "p4ss/w@rd"
_IDENTITY = "nobody"  # whom root runs it as: neither server runs as root
_START_SECONDS = 60.0
_SMALL_DISK = "96m"
_FILLER = "filler"


class DatabaseServer(ABC):
    """A server that can be stopped and started again.

    Args:
        folder: Folder of its data; `nobody` can write there.
        disk: A small disk for the data, that of a process which sees one there; None for the computer's.

    Attributes:
        scheme: Scheme of its URLs.
        programs: Its programs -> the packages of Debian that have them.
        refusal: What it says of a wrong password.
        full: Expression of what it says when its disk is full.
        orderly: Signal that stops it at once, in order.
        folder: Folder of its data.
        port: Port that it listens on.
    """

    scheme: ClassVar[str]
    programs: ClassVar[Mapping[str, str]]
    refusal: ClassVar[str]
    full: ClassVar[str]
    orderly: ClassVar[signal.Signals]

    def __init__(self, folder: Path, disk: int | None = None) -> None:
        self.folder, self._disk = folder, disk
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        made = self._run(*self._making())
        assert made.wait(_START_SECONDS) == 0, self._log()

    @classmethod
    @abstractmethod
    def places(cls) -> str:
        """Folders of its programs, with `:` between them."""

    @abstractmethod
    def connected(self) -> Any:
        """Return a connection of the user, as DB-API has it."""

    @abstractmethod
    def _making(self) -> Sequence[object]:
        """Command that makes the folder of the data."""

    @abstractmethod
    def _serving(self) -> Sequence[object]:
        """Command that serves, and does not return."""

    def url(self, database: str, *, with_password: bool = False) -> str:
        """URL of a database."""
        user = f"{USER}:{quote(PASSWORD, safe='')}" if with_password else USER
        return f"{self.scheme}://{user}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> None:
        """Make a database."""
        with contextlib.closing(self.connected()) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {database}")

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = self._run(*self._serving())
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(Exception):  # each driver has errors of its own
                self.connected().close()
                return
            assert self._process.poll() is None, self._log()
            time.sleep(0.1)
        raise AssertionError(f"{self.scheme} did not start:\n{self._log()}")

    def stop(self) -> None:
        """Stop in order: connections are cut off."""
        self._end(self.orderly)

    def crash(self) -> None:
        """Stop as a crash would."""
        self._end(signal.SIGKILL)

    def fill(self) -> None:
        """Leave no room on its small disk."""
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 12))

    def make_room(self) -> None:
        """Take away what fills the disk."""
        self._filler.unlink()

    @property
    def _filler(self) -> Path:
        return Path(f"/proc/{self._disk}/root{self.folder}/data/{_FILLER}")

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_START_SECONDS)
            self._process = None

    def _log(self) -> str:
        return (self.folder / "log").read_text()[-3000:]

    def _run(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        found = shutil.which(program, path=self.places())
        assert found is not None
        there = ("nsenter", "-t", str(self._disk), "--mount") if self._disk else ()
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*there, *_as_nobody(), found, *map(str, arguments)],
                cwd=self.folder,
                env={"PATH": self.places(), "LC_ALL": "C", "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextlib.contextmanager
def serving(kind: type[DatabaseServer], *, has_small_disk: bool = False) -> Iterator[DatabaseServer]:
    """Start a server, and remove all of it in the end.

    Args:
        kind: Which one.
        has_small_disk: Its data lie on a disk of their own, which `fill` can fill.
    """
    require(kind.programs, kind.places())
    # Not below pytest's own folder, which only its user can enter.
    folder = Path(tempfile.mkdtemp(prefix="orchestrate-database-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _IDENTITY)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        disk = stack.enter_context(_small_disk(folder / "data")) if has_small_disk else None
        server = kind(folder, disk)
        stack.callback(server.crash)
        server.start()
        yield server


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[int]:
    """Yield the one process that sees a small disk at a folder; the disk ends with it."""
    if os.geteuid() != 0:
        reason = "needs root: the database lies on a small disk of its own"
        pytest.skip(reason)  # without root no disk can be mounted; CI has root
    folder.mkdir()
    options = f"size={_SMALL_DISK},mode=0700,uid={pwd.getpwnam(_IDENTITY).pw_uid}"
    script = f"mount -t tmpfs -o {options} small {folder} && echo mounted && exec sleep infinity"
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            if not process.stdout.readline():
                reason = f"needs a mount of its own, which is refused here: {process.stderr.read().strip()}"
                pytest.skip(reason)  # a container may refuse it to root, too; the disk must really fill
            yield process.pid
        finally:
            process.kill()


def _as_nobody() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    user = pwd.getpwnam(_IDENTITY)
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
