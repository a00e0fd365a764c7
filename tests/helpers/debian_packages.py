"""Programs that tests need: CI installs what is missing, a user's machine is not changed unasked."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

_UPDATE_SECONDS = 60
_INSTALL_SECONDS = 300
_LOCK = Path(tempfile.gettempdir()) / "orchestrate-tests-install.lock"


def require(programs: Mapping[str, str], path: str | None = None) -> None:
    """Install what is missing in CI, or with ORCHESTRATE_INSTALL=1; else the test is skipped with the reason.

    Args:
        programs: Name of a program -> the package of Debian that has it.
        path: Folders in which programs are looked for, with `:` between them; None for those of this process.
    """
    may_install = bool(os.environ.get("CI") or os.environ.get("ORCHESTRATE_INSTALL") == "1")
    if may_install and os.geteuid() == 0 and shutil.which("apt-get"):
        with _LOCK.open("w") as one_at_a_time:  # apt refuses a second one, as of tests that run beside this
            fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
            if missing := _missing(programs, path):
                _install(missing)
    elif missing := _missing(programs, path):
        reason = f"needs {', '.join(missing)}: install them, or set ORCHESTRATE_INSTALL=1 on Debian or Ubuntu"
        pytest.skip(reason)  # nobody's machine is changed unasked; CI installs and never comes here


def _missing(programs: Mapping[str, str], path: str | None) -> list[str]:
    return sorted({package for name, package in programs.items() if not shutil.which(name, path=path)})


def _install(packages: list[str]) -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command, seconds in (
        (["apt-get", "update", "-qq"], _UPDATE_SECONDS),
        (["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], _INSTALL_SECONDS),
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=seconds, env=quiet)
