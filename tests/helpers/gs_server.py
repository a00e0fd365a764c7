"""A server with the interface of Google Cloud Storage, and an account of it whose signature is looked at."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import HTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

_EMAIL = "searches@project.iam.gserviceaccount.com"


@dataclass
class Google:
    """A server that holds one bucket, `bucket`.

    Attributes:
        endpoint: `HOST:PORT` of the server.
        asked: Method, path and `Authorization` of all requests.
    """

    endpoint: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    _key: RSAPrivateKey = field(default_factory=lambda: generate_private_key(65537, 2048))

    def write_account(self, path: Path) -> None:
        """Write the file of an account, as Google's console gives it."""
        key = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        account = {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "1",
            "private_key": key.decode(),
            "client_email": _EMAIL,
            "client_id": "1",
            "token_uri": f"http://{self.endpoint}/no-token-is-asked-for",
        }
        path.write_text(json.dumps(account))

    def signer(self, authorization: str) -> str:
        """Who signed a request.

        Raises:
            InvalidSignature: If it is not the key of the account.
        """
        head, claims, signature = authorization.removeprefix("Bearer ").split(".")
        signed = f"{head}.{claims}".encode()
        self._key.public_key().verify(_decoded(signature), signed, PKCS1v15(), SHA256())
        return str(json.loads(_decoded(claims))["iss"])


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Handler(RequestHandler):
    def __init__(self, google: Google, *arguments: Any) -> None:
        self._google = google
        super().__init__(*arguments)

    def parse_request(self) -> bool:
        is_whole = bool(super().parse_request())
        if is_whole:
            self._google.asked.append((self.command, self.path, self.headers.get("Authorization") or ""))
        return is_whole


@contextlib.contextmanager
def gs_server() -> Iterator[Google]:
    """Run a server on the loopback address; yields what is known of it."""
    google, storage = Google(), Storage(use_memory_fs=True)
    create_bucket("bucket", storage)
    server = HTTPServer(("127.0.0.1", 0), partial(_Handler, google, storage))
    google.endpoint = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield google
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
