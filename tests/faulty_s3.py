"""A proxy in front of an S3 server that refuses what it is told to, as a real one does."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CODES = {403: "AccessDenied", 503: "SlowDown"}  # S3's, by HTTP status


class Proxy(ThreadingHTTPServer):
    """Passes requests on to `server`, but those for which `refused(method, path)` holds: they are answered `status`,
    one of `CODES`."""

    daemon_threads = True

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server_netloc = urlsplit(server).netloc
        self.refused: Callable[[str, str], bool] = lambda method, path: False
        self.status, self.refusals = 403, 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_any(self) -> None:
        body = self._body()
        if self.server.refused(self.command, self.path):
            self.server.refusals += 1
            code = CODES[self.server.status]
            error = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
            self._answer(self.server.status, {"Content-Type": "application/xml"}, error.encode())
            return
        upstream = http.client.HTTPConnection(self.server.server_netloc, timeout=60)
        passed = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        upstream.request(self.command, self.path, body, passed)
        answer = upstream.getresponse()
        self._answer(answer.status, dict(answer.getheaders()), answer.read())
        upstream.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any  # noqa: N815 - names that http.server looks for

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
            running.shutdown()
