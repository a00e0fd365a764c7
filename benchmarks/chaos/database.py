"""A PostgreSQL of its own, which holds the study of a search and is restarted while trials run."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import Arena
from benchmarks.chaos.ledger import Outcome, not_run
from benchmarks.chaos.series import Hit, Series

FAULT: Final = "database restarted"
_AWAY_SECONDS: Final = 2.0
_DRIVER: Final = "psycopg"


class Database:
    """A PostgreSQL server on the loopback address; as a context it ends and leaves nothing behind.

    It never runs as root, so root runs it as the user `nobody`.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="chaos-db-", dir="/tmp"))
        self._data = self._folder / "data"
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        try:
            self._run(
                "initdb", "-D", str(self._data), "-U", "chaos", "-A", "trust", "-E", "UTF8", "--no-sync"
            )
            self.start()
            self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "chaos", "chaos")
        except BaseException:
            self.__exit__()
            raise

    @property
    def url(self) -> str:
        """Its address as Optuna takes it."""
        return f"postgresql+{_DRIVER}://chaos@127.0.0.1:{self.port}/chaos"

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop(check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-o", options, "-w", "start")

    def stop(self, *, check: bool = True) -> None:
        """Stop it at once, with its connections."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop", check=check)

    def _run(self, *command: str, check: bool = True) -> None:
        subprocess.run(
            command,
            check=check,
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
        )


def restart(arena: Arena, asked: int, trials: int) -> Outcome:
    """Restart the database under a search, several times; it waits, and goes on."""
    missing = [name for name in ("initdb", "pg_ctl", "createdb") if shutil.which(name) is None]
    missing += [] if importlib.util.find_spec(_DRIVER) else [f"the package {_DRIVER}"]
    if missing:
        return not_run(FAULT, asked, f"{', '.join(missing)} is not here")
    hit = Hit(FAULT, asked, "PostgreSQL")
    with Database() as database:
        series = Series(arena, "database", trials, "--study-storage", database.url)
        while hit.is_wanted and series.is_running():
            if not series.wait_for_trials(2):
                continue
            database.stop()
            series.note(hit)
            time.sleep(arena.random.uniform(0.0, _AWAY_SECONDS))
            database.start()
        return series.closed(hit)[0]
