"""A server with as much of Amazon's S3 as a client needs to keep files: put, in parts, list and delete."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass
class Bucket:
    """What a server holds.

    Attributes:
        endpoint: `HOST:PORT` of the server.
        objects: Key with its bucket -> content.
        parts: Upload -> number of a part -> content.
        asked: Methods and paths of all requests.
    """

    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        key, _ = self._asked()
        content = self.bucket.objects.get(key)
        is_bucket = "/" not in key.rstrip("/")
        self._answer(200 if content is not None or is_bucket else 404, content or b"", is_head=True)

    def do_GET(self) -> None:
        key, query = self._asked()
        if "list-type" not in query:
            self._answer(200 if key in self.bucket.objects else 404, self.bucket.objects.get(key, b""))
            return
        prefix = query.get("prefix", [""])[0]
        key = key.rstrip("/")
        found = [name for name in self.bucket.objects if name.startswith(f"{key}/{prefix}")]
        listed = "".join(
            f"<Contents><Key>{name.partition('/')[2]}</Key><Size>{len(self.bucket.objects[name])}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in sorted(found)
        )
        head = f"<Name>{key}</Name><KeyCount>{len(found)}</KeyCount><IsTruncated>false</IsTruncated>"
        self._xml(f"<ListBucketResult {_NAMESPACE}>{head}{listed}</ListBucketResult>")

    def do_PUT(self) -> None:
        key, query = self._asked()
        content = self._body()
        if "uploadId" in query:
            self.bucket.parts[query["uploadId"][0]][int(query["partNumber"][0])] = content
        else:
            self.bucket.objects[key] = content
        self._answer(200, b"", tag=content)

    def do_POST(self) -> None:
        key, query = self._asked()
        self._body()
        if "uploads" in query:
            upload = f"upload-{len(self.bucket.parts)}"
            self.bucket.parts[upload] = {}
            self._xml(
                f"<InitiateMultipartUploadResult {_NAMESPACE}><UploadId>{upload}</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
            return
        parts = self.bucket.parts.pop(query["uploadId"][0])
        self.bucket.objects[key] = b"".join(parts[number] for number in sorted(parts))
        tag = "<ETag>whole</ETag>"
        self._xml(f"<CompleteMultipartUploadResult {_NAMESPACE}>{tag}</CompleteMultipartUploadResult>")

    def do_DELETE(self) -> None:
        key, _ = self._asked()
        self.bucket.objects.pop(key, None)
        self._answer(204, b"")

    def _asked(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        self.bucket.asked.append(f"{self.command} {self.path}")
        return unquote(parts.path).removeprefix("/"), parse_qs(parts.query, keep_blank_values=True)

    def _body(self) -> bytes:
        raw = b"".join(self._chunks()) if self.headers.get("Transfer-Encoding") else self._plain()
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return raw
        content, rest = b"", raw
        while rest:  # SIZE;signature, the chunk, and so on until a chunk of no size
            line, _, rest = rest.partition(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                break
            content, rest = content + rest[:size], rest[size + 2 :]
        return content

    def _plain(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        """Chunks of HTTP, up to the one of no size."""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _xml(self, text: str) -> None:
        self._answer(200, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode(), kind="application/xml")

    def _answer(
        self,
        status: int,
        content: bytes,
        *,
        is_head: bool = False,
        kind: str = "binary/octet-stream",
        tag: bytes = b"",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", f'"{hashlib.md5(tag or content).hexdigest()}"')
        self.end_headers()
        if not is_head and status != 204:
            self.wfile.write(content)


@contextlib.contextmanager
def s3_server() -> Iterator[Bucket]:
    """Run a server on the loopback address; yields what it holds."""
    bucket = Bucket()
    handler = type("Handler", (_Handler,), {"bucket": bucket})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    bucket.endpoint = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
