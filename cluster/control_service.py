"""The control service of a Ray: whether one answers at an address, and whether it asks for a token."""

import os
import socket
from dataclasses import dataclass
from typing import Final

_ALIVE: Final = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_LONGEST_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the control service of a Ray answers to somebody without a token.

    Attributes:
        fault: Why it is none, as the end of a sentence; None if it is a Ray.
        is_open: True if it is a Ray that answers without a token, to whoever reaches its port.
    """

    fault: str | None
    is_open: bool = False


def probe(host: str, port: int, *, timeout_seconds: float = _LONGEST_SECONDS) -> str | None:
    """Return None if the control service of a Ray answers, else the fault, as the end of a sentence.

    Ray itself tries any other address for minutes, and cannot be interrupted meanwhile; this takes seconds.
    """
    return ask(host, port, timeout_seconds=timeout_seconds).fault


def ask(host: str, port: int, *, timeout_seconds: float = _LONGEST_SECONDS) -> Answer:
    """Ask an address whether it is the control service of a Ray, and let it show whether it wants a token.

    Args:
        host: Name or address of the machine.
        port: Port of the service, 1 to 65535.
        timeout_seconds: Longest time for the connection, and once more for the answer.
    """
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds):
            pass
    except socket.gaierror:
        return Answer(f"no machine is called {host!r}")
    except TimeoutError:
        return Answer(f"nothing answered within {timeout_seconds:g} s")
    except OSError as error:
        return Answer(f"the connection failed ({error.strerror or error})")
    if os.environ.get("RAY_USE_TLS", "0") == "1":
        # The question would have to be encrypted, so an open port must be enough; strangers are kept out.
        return Answer(None)
    return _ask_whether_alive(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", timeout_seconds)


def _ask_whether_alive(address: str, timeout_seconds: float) -> Answer:
    import grpc

    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_ALIVE)(b"", timeout=timeout_seconds)
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Answer(f"nothing answered within {timeout_seconds:g} s")
            # A Ray that wants a token, or another version of the question, says so.
            said_by_ray = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
            if code not in (*said_by_ray, grpc.StatusCode.INVALID_ARGUMENT):
                return Answer("what listens there is not Ray")
            return Answer(None)
    return Answer(None, is_open=True)
