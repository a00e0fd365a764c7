"""A PostgreSQL server of the tests' own."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from database_server import PASSWORD, USER, DatabaseServer


class PostgresServer(DatabaseServer):
    """A PostgreSQL without a Unix socket."""

    scheme = "postgresql"
    programs = MappingProxyType({"initdb": "postgresql", "postgres": "postgresql"})
    refusal = "password authentication failed"
    full = "No space left on device|could not write init file"
    orderly = signal.SIGINT

    @classmethod
    def places(cls) -> str:
        """Folders of its programs: Debian's are on no path."""
        own = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        return ":".join([os.environ.get("PATH", ""), *own])

    def connected(self) -> Any:
        """Return a connection of the user."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname="postgres",
            autocommit=True,
            connect_timeout=10,
        )

    def _making(self) -> Sequence[object]:
        (self.folder / "password").write_text(PASSWORD)
        small = ("-N", "--wal-segsize", 1)
        return (
            *("initdb", "-D", self.folder / "data", "-U", USER, "-A", "scram-sha-256"),
            *("--pwfile", self.folder / "password", *small),
        )

    def _serving(self) -> Sequence[object]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 20,
            "shared_buffers": "16MB",
            "max_wal_size": "4MB",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return ("postgres", "-D", self.folder / "data", *options)
