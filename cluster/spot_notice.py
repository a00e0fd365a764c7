"""`python -m cluster.spot_notice`: wait for Amazon's notice to take this spot machine back, then leave it.

The notice comes two minutes before, on a page of the machine's own metadata, which is there from then on and
asks for a session token (IMDSv2). Amazon advises to look every five seconds. Started by cluster/aws.yaml.
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Final

from cluster.leave import leave
from trainables.common.errors import OrchestrateError

METADATA: Final = "http://169.254.169.254"
_LEAVE_SECONDS: Final = 105  # of the two minutes
_POLL_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 2.0
_SESSION_SECONDS: Final = 21_600  # of a token, the longest
_NOT_FOUND, _TOKEN_ENDED = 404, 401


class SpotNotice:
    """The page on which the notice comes.

    Args:
        metadata: Where the metadata of this machine are.
    """

    def __init__(self, metadata: str = METADATA) -> None:
        self._metadata, self._token = metadata, ""
        # A proxy would answer for itself.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def action(self) -> str:
        """Return what is about to happen to this machine, such as `terminate`; empty while nothing is.

        Raises:
            OSError: If the metadata do not answer.
        """
        if not self._token:
            self._token = self._ask(
                "/latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": str(_SESSION_SECONDS)}
            )
        try:
            said = self._ask(
                "/latest/meta-data/spot/instance-action", "GET", {"X-aws-ec2-metadata-token": self._token}
            )
        except urllib.error.HTTPError as error:
            if error.code == _TOKEN_ENDED:
                self._token = ""
            if error.code in (_NOT_FOUND, _TOKEN_ENDED):
                return ""
            raise
        try:
            return str(json.loads(said)["action"])
        except (ValueError, TypeError, KeyError):
            return "interruption"  # the page is there, which it is for no other reason

    def _ask(self, page: str, method: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(f"{self._metadata}{page}", method=method, headers=headers)
        with self._opener.open(request, timeout=_ANSWER_SECONDS) as answer:
            return str(answer.read().decode())


def wait(
    notice: SpotNotice, *, poll_seconds: float = _POLL_SECONDS, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Wait until this machine is about to be taken away; returns what will happen to it.

    Args:
        notice: The page of the notice.
        poll_seconds: Time between two looks.
        sleep: Waits; injected for tests.
    """
    is_silent = False
    while True:
        try:
            found = notice.action()
            is_silent = False
        except OSError as error:
            found = ""
            if not is_silent:
                print(f"the metadata of this machine do not answer ({error}); asked again", file=sys.stderr)
            is_silent = True
        if found:
            return found
        sleep(poll_seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait for the notice and leave; returns 0 once no trial is left here."""
    parser = argparse.ArgumentParser(prog="python -m cluster.spot_notice", description=__doc__)
    parser.add_argument("--metadata", default=METADATA, help="where they are (default: %(default)s)")
    given = parser.parse_args(arguments)
    action = wait(SpotNotice(given.metadata))
    print(f"notice: {action}; trials leave this machine", file=sys.stderr, flush=True)
    try:
        has_left = leave(f"spot: {action}", seconds=_LEAVE_SECONDS)
    except OrchestrateError as error:
        print(error, file=sys.stderr)
        return 1
    print("no trial is left here" if has_left else "the time was up", file=sys.stderr)
    return 0 if has_left else 1


if __name__ == "__main__":
    sys.exit(main())
