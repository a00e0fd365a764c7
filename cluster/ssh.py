"""Commands on the machines of a cluster file, over SSH.

The head is logged in to as `ray up` does it, the others through the head, as Ray's head does it. Other than
Ray, which takes any host key, a machine that has shown its key once must show the same one again.
"""

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from cluster.cluster_file import ClusterFile
from cluster.errors import RemoteError

_CONNECT_SECONDS: Final = 10
_SSH_FAILED: Final = 255  # ssh's own exit code; any other is the command's
_VANISHED: Final = 24  # rsync's: files were removed over there meanwhile, as checkpoints of a search are
_PARTS: Final = ".rsync-partial"  # folder of files whose copy was interrupted, beside their place
_HOST_KEY_CHANGED: Final = "REMOTE HOST IDENTIFICATION HAS CHANGED"
_ADVICE: Final = (
    ("Permission denied", "is ssh_user right, and does ssh_private_key log in there without a password?"),
    ("Could not resolve", "is the name of the machine right?"),
    ("Connection refused", "no SSH server answers on that port; ssh_proxy_command goes to another one"),
    ("timed out", "is the machine on, and does a firewall let you through?"),
    ("Identity file", "is the path of ssh_private_key right?"),
)


@dataclass(frozen=True, slots=True)
class Login:
    """A way to run commands on one machine of a cluster.

    Attributes:
        file: The cluster file.
        host: Address of the machine.
        head: Address of the head; the same one, or the machine that leads to the host.
    """

    file: ClusterFile
    host: str
    head: str

    @property
    def shell(self) -> list[str]:
        """The `ssh` command and its options, without the machine."""
        words = ["ssh", *_options(self.file, self.host)]
        if self.host != self.head:
            through = shlex.join(
                [*Login(self.file, self.head, self.head).shell, "-W", "[%h]:%p", self._to(self.head)]
            )
            # ssh replaces %h in the whole command, so those of the head's own proxy command are doubled.
            doubled = through.replace("%", "%%").replace("[%%h]:%%p", "[%h]:%p")
            return [*words, "-o", f"ProxyCommand={doubled}"]
        if self.file.proxy_command is not None:
            return [*words, "-o", f"ProxyCommand={self.file.proxy_command}"]
        return words

    @property
    def target(self) -> str:
        """The machine as ssh and rsync name it."""
        return self._to(self.host)

    def run(
        self, command: str, *, text: str = "", timeout_seconds: float = 60.0, may_fail: bool = False
    ) -> str:
        """Run a command of the shell over there; return what it prints.

        Args:
            command: For `sh`.
            text: Standard input of the command.
            timeout_seconds: Longest time of all.
            may_fail: Return what it printed, whatever its exit code.

        Raises:
            RemoteError: If the machine cannot be logged in to, or the command fails.
        """
        try:
            done = subprocess.run(
                self._words(command),
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RemoteError(f"{self.host} did not answer within {timeout_seconds:g} s") from error
        except FileNotFoundError as error:
            raise RemoteError("ssh is needed on this machine, none was found; install OpenSSH") from error
        if done.returncode == _SSH_FAILED:
            raise RemoteError(login_fault(self.host, done.stderr, self.file))
        if done.returncode != 0 and not may_fail:
            said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
            raise RemoteError(f"{self.host}: {said[-1].strip()}")
        return done.stdout

    @contextmanager
    def streaming(self, command: str) -> Iterator[IO[str]]:
        """Run a command over there, and read what it prints as it comes; leaving ends the connection.

        Raises:
            RemoteError: If the machine cannot be logged in to, or the command fails.
        """
        with self._opened(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
            output, errors = running.stdout, running.stderr
            if output is None or errors is None:
                raise RemoteError(f"no pipe to {self.host}")
            yield output
            fault = errors.read()
            code = running.wait()
        if code == _SSH_FAILED:
            raise RemoteError(login_fault(self.host, fault, self.file))
        if code != 0:
            raise RemoteError(f"{self.host}: {(fault.strip().splitlines() or [f'exit code {code}'])[-1]}")

    @contextmanager
    def held(self, command: str) -> Iterator[IO[str]]:
        """Run a command over there that ends when its standard input does, which leaving closes.

        Yields what it prints, which is nothing if the machine cannot be logged in to.
        """
        with self._opened(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
            if running.stdin is None or running.stdout is None:
                raise RemoteError(f"no pipe to {self.host}")
            yield running.stdout
            running.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                running.wait(_CONNECT_SECONDS)

    @contextmanager
    def _opened(self, command: str, *, stdin: int, stderr: int) -> Iterator[subprocess.Popen[str]]:
        """Begin a command over there whose output is read as it comes; leaving ends the connection."""
        with subprocess.Popen(
            self._words(command),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
        ) as running:
            try:
                yield running
            finally:
                running.kill()

    def fetch(
        self,
        source: str,
        target: Path,
        *,
        leave_out: Sequence[str] = (),
        only: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        """Copy the content of a folder over there into a folder here, with rsync.

        A file has its name once it is whole.

        Args:
            source: Folder over there.
            target: Folder here; what it holds already is not sent again.
            leave_out: Names that are not copied, as patterns of rsync.
            only: Names that are copied, with the folders on the way to them, likewise; empty for all.
            options: Further options of rsync.

        Raises:
            RemoteError: If the copy fails.
        """
        target.mkdir(parents=True, exist_ok=True)
        chosen = [f"--exclude={name}" for name in leave_out] + [f"--include={name}" for name in only]
        words = ["rsync", "-a", f"--partial-dir={_PARTS}", "--protect-args", *options, *chosen]
        words += [*(["--exclude=*"] if only else []), f"--rsh={shlex.join(self.shell)}"]
        try:
            done = subprocess.run(
                [*words, f"{self.target}:{source}/", f"{target}/"],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
            )
        except FileNotFoundError as error:
            raise RemoteError("rsync is needed on this machine, none was found; install it") from error
        if done.returncode not in (0, _VANISHED):
            said = done.stderr.strip().splitlines() or ["nothing"]
            raise RemoteError(f"rsync from {self.host} failed: {said[-1]}")

    def _to(self, host: str) -> str:
        return f"{self.file.user}@{host}" if self.file.user else host

    def _words(self, command: str) -> list[str]:
        return [*self.shell, self.target, f"sh -c {shlex.quote(command)}"]


def logins(file: ClusterFile, head: str) -> tuple[Login, ...]:
    """Return the logins of the machines that a cluster file names, the head first."""
    return tuple(Login(file, host, head) for host in (head, *file.workers))


def known_hosts_file() -> Path:
    """Return the file of the host keys that clusters have shown."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "orchestrate" / "known_hosts"


def login_fault(host: str, said: str, file: ClusterFile) -> str:
    """Say in one sentence why a machine could not be logged in to.

    Args:
        host: The machine.
        said: What ssh said.
        file: The cluster file.
    """
    if _HOST_KEY_CHANGED in said:
        alias = _alias(file, host)
        return (
            f"{host} shows another host key than before; if it was set up anew, forget the old one: "
            f"ssh-keygen -R {shlex.quote(alias)} -f {shlex.quote(str(known_hosts_file()))}"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("Warning:")]
    last = lines[-1] if lines else "ssh said nothing"
    advice = next(
        (advice for word, advice in _ADVICE if word.lower() in said.lower()), "try it by hand with ssh"
    )
    return f"{host} cannot be logged in to: {last}; {advice}"


def _options(file: ClusterFile, host: str) -> list[str]:
    hosts = known_hosts_file()
    hosts.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = {
        "BatchMode": "yes",  # a question would wait for ever
        "ConnectTimeout": str(_CONNECT_SECONDS),
        "IdentitiesOnly": "yes" if file.key is not None else "no",
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": shlex.quote(str(hosts)),
        # Several clusters may be reached under one address, through different tunnels.
        "HostKeyAlias": _alias(file, host),
        "LogLevel": "ERROR",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "6",
    }
    identity = [] if file.key is None else ["-i", str(file.key)]
    return identity + [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _alias(file: ClusterFile, host: str) -> str:
    return f"{file.name}.{host}"
