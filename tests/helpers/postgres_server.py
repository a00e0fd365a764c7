"""A PostgreSQL server of the tests' own: on 127.0.0.1, with a password, and no Unix socket."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "p4ss/w@rd"
_USER = "postgres"  # the user that the package makes; the server refuses to run as root
_START_SECONDS = 60.0


class PostgresServer:
    """A server that can be stopped and started again.

    Args:
        folder: Folder of its data; the server's user can write there.
        programs: Folder of the server's programs.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        password = folder / "password"
        password.write_text(PASSWORD)
        made = self._run(
            "initdb", "-D", f"{folder}/data", "-U", "me", "-A", "scram-sha-256", "--pwfile", password
        )
        assert made.wait(_START_SECONDS) == 0, (folder / "log").read_text()

    @property
    def url(self) -> str:
        """URL without the password."""
        return f"postgresql://me@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 20,
            "shared_buffers": "16MB",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = self._run("postgres", "-D", f"{self.folder}/data", *options)
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            asked = self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
            if asked.wait(10.0) == 0:
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.1)
        raise AssertionError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}")

    def stop(self, signal_number: int = signal.SIGINT) -> None:
        """Stop: connections are cut off; SIGQUIT stops as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal_number)
            self._process.wait(_START_SECONDS)
            self._process = None

    def _run(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        identity = {"user": _USER, "group": _USER, "extra_groups": []} if os.geteuid() == 0 else {}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(  # type: ignore[call-overload, no-any-return]  # who it runs as, or nothing
                [self.programs / program, *arguments],
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **identity,
            )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server, and remove all of it in the end."""
    programs = _programs()
    # Not below pytest's own folder, which only its user can enter.
    folder = Path(tempfile.mkdtemp(prefix="orchestrate-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _USER, _USER)
    server = None
    try:
        server = PostgresServer(folder, programs)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Folder of the server's programs; installed where that is asked for, else the test is skipped."""
    found = _found()
    may_install = bool(os.environ.get("CI") or os.environ.get("ORCHESTRATE_INSTALL_POSTGRES") == "1")
    if found is None and may_install and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"]
        for command, seconds in ((["apt-get", "update", "-qq"], 60), (install, 200)):
            subprocess.run(command, check=True, capture_output=True, timeout=seconds, env=quiet)
        found = _found()
    if found is None:
        # A user's machine is not changed unasked; CI installs it above.
        pytest.skip(
            "needs a PostgreSQL server: install it, or set ORCHESTRATE_INSTALL_POSTGRES=1 on Debian or Ubuntu"
        )
    return found


def _found() -> Path | None:
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)
