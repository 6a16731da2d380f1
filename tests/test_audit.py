"""`make audit` fails where it found something, and where it could not look."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import ROOT

VULNERABLE = {
    "vulns": [
        {
            "id": "PYSEC-1",
            "published": "2020-01-01T00:00:00Z",
            "modified": "2020-01-01T00:00:00Z",
            "affected": [{"package": {"ecosystem": "PyPI", "name": "old"}, "versions": ["1.0"], "ranges": []}],
        }
    ]
}


class Answers(BaseHTTPRequestHandler):
    """Speaks as OSV does: `old` has a vulnerability, all others have none."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = json.dumps(VULNERABLE if asked["package"]["name"] == "old" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    server.shutdown()


def audit(folder: Path, pins: str, service: str) -> tuple[int, str]:
    (folder / "pins").write_text(pins)
    words = [folder / "pins", "--vulnerability-service", "osv", "--osv-url", service, "--cache-dir", folder]
    done = subprocess.run([sys.executable, ROOT / ".ci/audit.py", *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_packages_without_a_vulnerability_pass(tmp_path: Path, service: str) -> None:
    assert audit(tmp_path, "one==1.0\ntwo==2.0\n", service) == (0, "audit: 2 packages, no known vulnerability\n")


def test_a_vulnerability_fails_and_is_named(tmp_path: Path, service: str) -> None:
    assert audit(tmp_path, "one==1.0\nold==1.0\n", service) == (1, "audit: vulnerable: old 1.0 (PYSEC-1)\n")


def test_without_an_answer_nothing_was_audited(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nobody listens there
        code, said = audit(tmp_path, "one==1.0\n", f"http://127.0.0.1:{free.getsockname()[1]}/v1/query")
    assert code == 1
    assert said.startswith("audit: nothing was audited")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("packages", "fault"),
    [
        ([], "nothing was audited: of 0 packages none could be looked up"),
        ([{"name": "a", "skip_reason": "not found"}], "nothing was audited: of 1 packages none could be looked up"),
        (
            [{"name": "a", "skip_reason": "not found"}, {"name": "b", "version": "1", "vulns": []}],
            "not audited: a",
        ),
    ],
)
def test_a_package_that_nobody_knew_fails(packages: list, fault: str) -> None:
    code = f"import audit; print(audit.find_fault({packages!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / ".ci")
    assert done.stdout.strip() == fault
