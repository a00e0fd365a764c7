"""A MariaDB server of the tests' own."""

import os
import signal
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from database_server import PASSWORD, USER, DatabaseServer


class MariadbServer(DatabaseServer):
    """A MariaDB whose root cannot be reached: its user comes over TCP, and has a password."""

    scheme = "mysql"
    programs = MappingProxyType(
        {
            "mariadbd": "mariadb-server-core",  # a server and no service
            "mariadb-install-db": "mariadb-server-core",
            "my_print_defaults": "mariadb-client-core",  # which that script calls
        }
    )
    refusal = "Access denied for user"
    full = "is full|No space left on device"
    orderly = signal.SIGTERM

    @classmethod
    def places(cls) -> str:
        """Folders of its programs."""
        return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"

    def connected(self) -> Any:
        """Return a connection of the user."""
        import pymysql

        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            autocommit=True,
            connect_timeout=10,
        )

    def _making(self) -> Sequence[object]:
        (self.folder / "user.sql").write_text(
            f"CREATE USER IF NOT EXISTS {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO {USER}@'127.0.0.1';\n"
        )
        own = ("--auth-root-authentication-method=socket", "--skip-test-db")
        return ("mariadb-install-db", "--no-defaults", f"--datadir={self.folder}/data", *own, *_SMALL)

    def _serving(self) -> Sequence[object]:
        return (
            *("mariadbd", "--no-defaults", f"--datadir={self.folder}/data", f"--tmpdir={self.folder}"),
            *("--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.folder}/socket"),
            *("--skip-name-resolve", f"--init-file={self.folder}/user.sql", *_SMALL),
        )


_SMALL = (
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=4M",
    "--innodb-flush-log-at-trx-commit=2",  # a crash of the server loses nothing, one of the machine might
    "--innodb-flush-method=fsync",
)
