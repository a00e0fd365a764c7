"""A name node and a data node of Hadoop as WebHDFS shows them: a tree of files, asked and changed over HTTP.

The name node holds no contents and answers with the address of a data node, to which they are sent. As in
Hadoop, folders on the way to a new file are made, names that are taken are not renamed to, which is an answer
and no error, and each file belongs to the user who made it.

Source:
    Apache Hadoop 3, "WebHDFS REST API".
"""

import contextlib
import json
import posixpath
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

_NOBODY = "dr.who"  # as Hadoop calls those who do not say who they are


@dataclass
class Hadoop:
    """What the nodes hold.

    Attributes:
        name_node: `HOST:PORT` of the name node.
        data_node: `HOST:PORT` of the data node.
        files: Path -> content.
        owners: Path of a file -> user.
        folders: Paths of all folders.
        asked: User and operation of all requests to the name node.
        is_safe: Nothing can be changed, as while a name node starts.
    """

    name_node: str = ""
    data_node: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"/"})
    asked: list[tuple[str, str]] = field(default_factory=list)
    is_safe: bool = False

    def make_folder(self, path: str) -> None:
        """Make a folder and those on the way to it."""
        while path not in self.folders:
            self.folders.add(path)
            path = posixpath.dirname(path)

    def status(self, path: str, suffix: str = "") -> dict[str, Any]:
        """Status of a path, as in a FileStatus of Hadoop.

        Raises:
            _RefusedError: If there is nothing.
        """
        if path not in self.files and path not in self.folders:
            raise _RefusedError(404, "FileNotFoundException", f"File does not exist: {path}")
        is_file = path in self.files
        return {
            "pathSuffix": suffix,
            "type": "FILE" if is_file else "DIRECTORY",
            "length": len(self.files.get(path, b"")),
            "owner": self.owners.get(path, "hdfs"),
            "modificationTime": int(time.time() * 1000),
        }


class _RefusedError(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class _Node(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hadoop: Hadoop

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path = posixpath.normpath(unquote(parts.path).removeprefix("/webhdfs/v1")) if parts.path else "/"
        asked = dict(parse_qsl(parts.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, content, place = self.respond(asked["op"], "/" + path.strip("/"), asked, body)
        except _RefusedError as error:
            said = {"exception": error.kind, "message": str(error)}
            status, content, place = error.status, json.dumps({"RemoteException": said}).encode(), ""
        self.send_response(status)
        if place:
            self.send_header("Location", place)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def respond(self, op: str, path: str, asked: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        """Status, content and, of a redirection, address of an answer."""
        raise NotImplementedError


class _NameNode(_Node):
    def respond(self, op: str, path: str, asked: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        assert not body, "contents go to a data node"
        user = asked.get("user.name", _NOBODY)
        self.hadoop.asked.append((user, f"{op} {path}"))
        if op in ("CREATE", "APPEND", "OPEN"):
            if op != "CREATE" and path not in self.hadoop.files:
                raise _RefusedError(404, "FileNotFoundException", f"File does not exist: {path}")
            if op != "OPEN":
                self._check(path, user)
            if path in self.hadoop.folders or (op == "CREATE" and self._is_taken(path, asked)):
                raise _RefusedError(403, "FileAlreadyExistsException", f"{path} already exists")
            query = urlencode({**asked, "user.name": user})
            return 307, b"", f"http://{self.hadoop.data_node}/webhdfs/v1{path}?{query}"
        return 200, json.dumps(self._changed(op, path, asked, user)).encode(), ""

    def _is_taken(self, path: str, asked: dict[str, str]) -> bool:
        return path in self.hadoop.files and asked.get("overwrite") != "true"

    def _changed(self, op: str, path: str, asked: dict[str, str], user: str) -> dict[str, Any]:
        files, folders = self.hadoop.files, self.hadoop.folders
        if op == "GETFILESTATUS":
            return {"FileStatus": self.hadoop.status(path)}
        if op == "LISTSTATUS":
            below = {one for one in files.keys() | folders if posixpath.dirname(one) == path and one != "/"}
            names = sorted(posixpath.basename(one) for one in below) if path in folders else [""]
            found = [
                self.hadoop.status(posixpath.join(path, name).rstrip("/") or "/", name) for name in names
            ]
            return {"FileStatuses": {"FileStatus": found}}
        self._check(path, user)
        if op == "MKDIRS":
            if any(path == file or path.startswith(f"{file}/") for file in files):
                raise _RefusedError(403, "ParentNotDirectoryException", f"{path} is below a file")
            self.hadoop.make_folder(path)
            return {"boolean": True}
        if op == "DELETE":
            self.hadoop.owners.pop(path, None)
            return {"boolean": files.pop(path, None) is not None}
        assert op == "RENAME", op
        target = asked["destination"]
        if path not in files or target in files or posixpath.dirname(target) not in folders:
            return {"boolean": False}
        files[target], self.hadoop.owners[target] = files.pop(path), self.hadoop.owners.pop(path)
        return {"boolean": True}

    def _check(self, path: str, user: str) -> None:
        if self.hadoop.is_safe:
            raise _RefusedError(403, "SafeModeException", f"Cannot change {path}. Name node is in safe mode.")
        if self.hadoop.owners.get(path, user) != user or user == _NOBODY:
            raise _RefusedError(403, "AccessControlException", f"Permission denied: user={user}, path={path}")


class _DataNode(_Node):
    def respond(self, op: str, path: str, asked: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        files = self.hadoop.files
        if op == "OPEN":
            start = int(asked.get("offset", 0))
            return 200, files[path][start : start + int(asked.get("length", len(files[path])))], ""
        if op == "APPEND":
            files[path] += body
            return 200, b"", ""
        self.hadoop.make_folder(posixpath.dirname(path))
        files[path], self.hadoop.owners[path] = body, asked["user.name"]
        return 201, b"", f"hdfs://{self.hadoop.name_node}{path}"


@contextlib.contextmanager
def _running(node: type[_Node], hadoop: Hadoop) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Node", (node,), {"hadoop": hadoop}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def webhdfs_server() -> Iterator[Hadoop]:
    """Run both nodes on the loopback address; yields what they hold."""
    hadoop = Hadoop()
    with _running(_NameNode, hadoop) as hadoop.name_node, _running(_DataNode, hadoop) as hadoop.data_node:
        yield hadoop
