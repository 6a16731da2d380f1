"""A proxy in front of an S3 server that fails as it is told to: refuses, is overloaded, hangs up or does not answer."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ERRORS = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}
RESET, STALL = -1, -2  # the connection is closed without an answer; there is none until the proxy ends


class Proxy(ThreadingHTTPServer):
    """Passes requests on to `server`, but those for which `fault(method, path)` is not 0: it is the status that they
    are answered with, RESET or STALL."""

    daemon_threads = True

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server_netloc = urlsplit(server).netloc
        self.fault: Callable[[str, str], int] = lambda method, path: 0
        self.faults = 0
        self.ending = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_any(self) -> None:
        body = self._body()
        if fault := self.server.fault(self.command, self.path):
            self.server.faults += 1
            self._fail(fault)
            return
        upstream = http.client.HTTPConnection(self.server.server_netloc, timeout=60)
        passed = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        upstream.request(self.command, self.path, body, passed)
        answer = upstream.getresponse()
        self._answer(answer.status, dict(answer.getheaders()), answer.read())
        upstream.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any  # noqa: N815 - names that http.server looks for

    def _fail(self, fault: int) -> None:
        if fault in (RESET, STALL):
            if fault == STALL:
                self.server.ending.wait()
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
            self.connection.close()
            return
        text = f'<?xml version="1.0"?><Error><Code>{ERRORS[fault]}</Code><Message>as told</Message></Error>'
        self._answer(fault, {"Content-Type": "application/xml"}, text.encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def proxy(server: str) -> Iterator[Proxy]:
    """A proxy on loopback, for the time of the block."""
    with Proxy(server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield running
        finally:
            running.ending.set()
            running.shutdown()
