"""A server with the interface of Amazon's S3, moto: it checks signatures, and which account may do what."""

import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.authorization import enable_iam_authentication
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

ALL = ("s3:*",)
_REGION = "us-east-1"


@dataclass
class Amazon:
    """A server that holds one bucket, `bucket`.

    Attributes:
        endpoint: `HOST:PORT` of the server.
        asked: Methods and paths of all requests, with what is asked for behind a `?`.
    """

    endpoint: str = ""
    asked: list[str] = field(default_factory=list)
    _owner: tuple[str, str] = ("owner", "owner")

    def uri(self, path: str) -> str:
        """URI of `BUCKET/PATH` on this server."""
        return f"s3://{path}?endpoint_override={self.endpoint}&scheme=http&region={_REGION}"

    def account(self, name: str, may: tuple[str, ...] = ALL) -> dict[str, str]:
        """Make an account that may do some things in all buckets; returns its key, for the environment."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        allowed = {"Effect": "Allow", "Action": list(may), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def client(self, service: str = "s3") -> Any:
        """Amazon's own client, as the owner of the bucket."""
        key, secret = self._owner
        own = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": _REGION}
        return boto3.client(service, endpoint_url=f"http://{self.endpoint}", **own)

    def put(self, key: str, content: bytes) -> None:
        """Put an object into the bucket, without a request."""
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object("bucket", key, content)

    def contents(self, folder: str = "") -> dict[str, bytes]:
        """Name below a folder of the bucket -> content, as Amazon's client reads it."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=folder)
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return {
            key.removeprefix(folder): client.get_object(Bucket="bucket", Key=key)["Body"].read()
            for key in keys
        }


@contextlib.contextmanager
def s3_server() -> Iterator[Amazon]:
    """Run a server on the loopback address; yields what is known of it."""
    amazon = Amazon()
    app = DomainDispatcherApplication(create_backend_app)

    def noted(environ: dict[str, Any], start_response: Any) -> Any:
        amazon.asked.append(f"{environ['REQUEST_METHOD']} {environ['REQUEST_URI']}")
        return app(environ, start_response)

    log = logging.getLogger("werkzeug")
    level = log.level
    log.setLevel(logging.CRITICAL)
    server = make_server("127.0.0.1", 0, noted, threaded=True, request_handler=MotoRequestHandler)
    amazon.endpoint = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        key = amazon.account("owner", ("*",))  # the first account is made unasked, as by the owner of a cloud
        amazon._owner = (key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"])
        amazon.client().create_bucket(Bucket="bucket")
        with enable_iam_authentication():
            yield amazon
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        log.setLevel(level)
        s3_backends.reset()  # they are those of the process
        iam_backends.reset()
