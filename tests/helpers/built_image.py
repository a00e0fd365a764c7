"""An image built from the container file by buildah, which needs no daemon, on a base made here."""

import configparser
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from debian_packages import require

ROOT = Path(__file__).parents[2]
BASE = "localhost/python-on-debian"
IMAGE = "localhost/breast-search"
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"
_NEEDED_GB = 30  # packages with CUDA, in a container and once more in its image
_CERTIFICATES = Path("/etc/ssl/certs")


@dataclass(frozen=True, slots=True)
class Images:
    """Images in a storage of their own.

    Attributes:
        folder: Folder of the storage.
    """

    folder: Path

    def buildah(self, *arguments: str, seconds: float = 120.0) -> str:
        """Run buildah and return what it prints.

        Raises:
            AssertionError: If it fails, with what it said.
        """
        places = ("--root", str(self.folder / "images"), "--runroot", str(self.folder / "running"))
        done = subprocess.run(
            ("buildah", *places, *arguments),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env={**os.environ, "PATH": _PATH, "BUILDAH_ISOLATION": "chroot"},
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def make_base(self) -> None:
        """Make an image of Debian with Python, which stands for the one of the container file."""
        tree = self.folder / "base"
        made = subprocess.run(
            ("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(tree)),
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
            env={**os.environ, "PATH": _PATH},
        )
        assert made.returncode == 0, made.stdout[-2000:]
        container = self.buildah("from", "scratch")
        self.buildah("copy", container, str(tree), "/")
        self.buildah("commit", "--rm", container, BASE)
        shutil.rmtree(tree)

    def build(self) -> None:
        """Build the image of the container file on that base, with this machine's sources of packages."""
        settings = self.folder / "pip.conf"
        _write_settings_of_pip(settings)
        volumes = [f"{settings}:/etc/pip.conf:ro", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
        told = [word for volume in volumes for word in ("--volume", volume)]
        self.buildah(
            *("build", "--file", "cluster/Containerfile", "--build-arg", f"BASE={BASE}", *told),
            *("--tag", IMAGE, "."),
            seconds=1500,
        )

    def run(self, *command: str, seconds: float = 300.0) -> str:
        """Run a command in a container of the image, as its own user; returns what it prints."""
        container = self.buildah("from", "--pull-never", IMAGE)
        try:
            return self.buildah("run", container, "--", *command, seconds=seconds)
        finally:
            self.buildah("rm", container)


def _write_settings_of_pip(path: Path) -> None:
    """Write what pip is told on this machine, but for folders that an image cannot see."""
    listed = subprocess.run(("pip", "config", "list"), capture_output=True, text=True, check=True, timeout=60)
    found = configparser.ConfigParser(interpolation=None)
    found["global"] = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        key, text = name.rpartition(".")[2], value.strip("'\"")
        if key in ("index-url", "cert", "proxy", "default-timeout", "timeout"):
            found["global"][key] = text
    with path.open("w") as file:
        found.write(file)


@contextmanager
def images(folder: Path) -> Iterator[Images]:
    """A storage of images that is gone afterwards; skips where none can be built."""
    require({"buildah": "buildah", "debootstrap": "debootstrap", "crun": "crun"}, _PATH)
    if os.geteuid() != 0:
        pytest.skip("needs root: debootstrap makes device files")  # CI runs as root and never comes here
    if shutil.disk_usage(folder).free < _NEEDED_GB * 10**9:
        reason = f"needs {_NEEDED_GB} GB of disk: packages with CUDA, in a container and in its image"
        pytest.skip(reason)  # a full disk would fail the tests beside it and say nothing of the file
    made = Images(folder)
    try:
        yield made
    finally:
        subprocess.run(
            (
                "buildah",
                "--root",
                str(folder / "images"),
                "--runroot",
                str(folder / "running"),
                "rm",
                "--all",
            ),
            capture_output=True,
            check=False,
            timeout=300,
        )
        for name in ("images", "running", "base"):
            shutil.rmtree(folder / name, ignore_errors=True)
