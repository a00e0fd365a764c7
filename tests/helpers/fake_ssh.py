"""A machine that `ssh` and `ray` seem to reach: commands run here, in a home folder of their own."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Options are skipped; a host whose name begins with `off` is switched off.
SSH = """\
#!/bin/sh
echo "$@" >> "{folder}/ssh.log"
while :; do case "$1" in -o|-i|-l|-p) shift 2 ;; *) break ;; esac; done
case "$1" in
  *@off*) echo "ssh: connect to host off port 22: Connection timed out" >&2; exit 255 ;;
  *@new*) echo "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @" >&2; exit 255 ;;
esac
shift
cd "{folder}/home"
HOME="{folder}/home" XDG_STATE_HOME= PYTHONPATH="{repository}" exec sh -c "$*"
"""
RAY = """\
#!/bin/sh
echo "${{RAY_UP_enable_autoscaler_v2:-unset}} $*" >> "{folder}/ray.log"
[ "$1" = get-head-ip ] && echo 10.0.0.9
exit {code}
"""


@dataclass(frozen=True)
class FakeMachine:
    """A folder that stands for machines elsewhere.

    Attributes:
        folder: Holds programs, logs and the home folder.
    """

    folder: Path

    @property
    def home(self) -> Path:
        """Home folder of whoever logs in."""
        return self.folder / "home"

    def said(self, program: str) -> list[str]:
        """Command lines of `ssh` or `ray`, in the order of the calls."""
        log = self.folder / f"{program}.log"
        return log.read_text().splitlines() if log.exists() else []

    def let_ray_end_with(self, code: int) -> None:
        """Set the exit code of `ray`."""
        _program(self.folder / "bin/ray", RAY.format(folder=self.folder, code=code))

    def install(self) -> None:
        """Make an environment over there that runs the code of this repository."""
        python = self.home / "orchestrate/venv/bin/python"
        python.parent.mkdir(parents=True)
        _program(python, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')

    def cluster_file(self, *, head: str = "10.0.0.1", workers: tuple[str, ...] = ()) -> Path:
        """Write a cluster file, filled in."""
        key = self.folder / "key"
        key.write_text("a key")
        key.chmod(0o600)
        text = (REPOSITORY / "cluster/local.yaml").read_text()
        for before, after in (
            ("head_ip: 10.0.0.1", f"head_ip: {head}"),
            ("worker_ips: [10.0.0.2]", f"worker_ips: [{', '.join(workers)}]"),
            ("your-login", "me"),
            ("~/.ssh/id_ed25519", str(key)),
        ):
            assert before in text
            text = text.replace(before, after)
        file = self.folder / "my.yaml"
        file.write_text(text)
        return file


def make_fake_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """Put `ssh` and `ray` before the real ones, in a folder; nothing leaves this machine."""
    (folder / "bin").mkdir()
    (folder / "home").mkdir()
    machine = FakeMachine(folder)
    _program(folder / "bin/ssh", SSH.format(folder=folder, repository=REPOSITORY))
    machine.let_ray_end_with(0)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setattr("cluster.launcher._program", lambda name: str(folder / "bin" / name))
    return machine


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
