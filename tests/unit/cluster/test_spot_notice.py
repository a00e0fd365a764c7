"""The notice of a spot machine, on a server that answers as Amazon's metadata do (IMDSv2)."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster import spot_notice
from cluster.errors import ClusterError
from cluster.spot_notice import SpotNotice


class Metadata(ThreadingHTTPServer):
    """Gives tokens, takes the newest one alone, and has a notice or none."""

    tokens = 0
    notice = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Pages(BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        is_asked = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.server.tokens += 1
        self._answer(200 if is_asked else 400, f"token {self.server.tokens}")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != f"token {self.server.tokens}":
            self._answer(401)
        elif self.path != "/latest/meta-data/spot/instance-action" or not self.server.notice:
            self._answer(404)
        else:
            self._answer(200, self.server.notice)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self, code: int, text: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with Metadata(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_there_is_no_notice_until_amazon_gives_one(
    metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # it is not asked
    notice = SpotNotice(metadata.address)
    assert notice.action() == ""
    metadata.notice = '{"action": "terminate", "time": "2026-11-29T12:00:00Z"}'
    assert notice.action() == "terminate"
    assert metadata.tokens == 1, "a token serves for hours"
    metadata.notice = "in another form"
    assert notice.action() == "interruption"


def test_a_token_that_has_ended_is_asked_for_again(metadata: Metadata) -> None:
    metadata.notice = '{"action": "stop"}'
    notice = SpotNotice(metadata.address)
    assert notice.action() == "stop"
    metadata.tokens += 1
    assert (notice.action(), notice.action()) == ("", "stop")


def test_metadata_that_do_not_answer_are_asked_again_and_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers: Iterator[str | OSError] = iter([OSError("a"), OSError("b"), "", "stop"])

    class Flaky(SpotNotice):
        def action(self) -> str:
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return answer

    waited: list[float] = []
    assert spot_notice.wait(Flaky(), poll_seconds=5.0, sleep=waited.append) == "stop"
    assert waited == [5.0, 5.0, 5.0]
    assert capsys.readouterr().err == "the metadata of this machine do not answer (a); asked again\n"


def test_at_the_notice_the_machine_is_left(
    metadata: Metadata, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata.notice = '{"action": "terminate"}'
    left: list[tuple[str, int]] = []

    def leave(message: str, *, seconds: int) -> bool:
        left.append((message, seconds))
        return True

    monkeypatch.setattr(spot_notice, "leave", leave)
    assert spot_notice.main(["--metadata", metadata.address]) == 0
    assert left == [("spot: terminate", 105)]
    assert "no trial is left here" in capsys.readouterr().err

    def fail(message: str, *, seconds: int) -> bool:
        raise ClusterError("no cluster here")

    monkeypatch.setattr(spot_notice, "leave", fail)
    assert spot_notice.main(["--metadata", metadata.address]) == 1
    assert "no cluster here" in capsys.readouterr().err
