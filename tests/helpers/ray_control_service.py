"""Servers that answer as the control service of a Ray does, or otherwise."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"


@contextmanager
def server_that_says(answer: bytes) -> Iterator[int]:
    """Listen on a port of 127.0.0.1, give every caller the answer, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    caller, _ = listener.accept()
                    with caller:
                        caller.recv(64)
                        caller.sendall(answer)
            except OSError:  # the listener is closed: the test is over
                return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def ray_that_answers(code: grpc.StatusCode = grpc.StatusCode.OK, method: str = CHECK_ALIVE) -> Iterator[int]:
    """Serve gRPC on a port of 127.0.0.1 with one method, as a Ray's control service does; yield the port."""

    class Service(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            if call.method != method:
                return None

            def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
                context.set_code(code)
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Service()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()
