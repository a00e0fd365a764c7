"""Programs that tests need: CI installs what is missing, a user's machine is not changed unasked."""

import os
import shutil
import subprocess
from collections.abc import Mapping

import pytest

_UPDATE_SECONDS = 60
_INSTALL_SECONDS = 200


def require(programs: Mapping[str, str], path: str) -> None:
    """Install what is missing in CI, or with ORCHESTRATE_INSTALL=1; else the test is skipped with the reason.

    Args:
        programs: Name of a program -> the package of Debian that has it.
        path: Folders in which programs are looked for, with `:` between them.
    """
    missing = sorted({package for name, package in programs.items() if not shutil.which(name, path=path)})
    may_install = bool(os.environ.get("CI") or os.environ.get("ORCHESTRATE_INSTALL") == "1")
    if missing and may_install and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        for command, seconds in (
            (["apt-get", "update", "-qq"], _UPDATE_SECONDS),
            (install, _INSTALL_SECONDS),
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=seconds, env=quiet)
    elif missing:
        reason = f"needs {', '.join(missing)}: install them, or set ORCHESTRATE_INSTALL=1 on Debian or Ubuntu"
        pytest.skip(reason)  # nobody's machine is changed unasked; CI installs and never comes here
