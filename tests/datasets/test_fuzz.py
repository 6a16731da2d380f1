"""Every importer on damaged copies of its own small tree: it reads what it can, reports the rest, and never fails.

`DOTFIELD_FUZZ=2000 python -m pytest tests/datasets/test_fuzz.py` tries so many of each kind, other ones each time;
`tests/datasets/fuzz.py` looks for those that reach new code."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.config import plugins
from components.config.options import Choice
from components.crowd import Problem
from components.data.decode import prepare_images
from components.errors import UserError
from tests.raw.tools import RAW

EXAMPLES = int(os.environ.get("DOTFIELD_FUZZ", "0"))
SECONDS, MEGABYTES = 10, 300  # of the processor, and of memory, that a damaged file of a few kilobytes may take
OPTIONS: dict[str, dict[str, Any]] = {"shanghaitech": {"part": "A"}, "ucf_cc_50": {"fold": 1}}
KINDS = sorted(path.name for path in RAW.iterdir() if path.is_dir() and path.name != "__pycache__")
FILES = {kind: sorted(path for path in (RAW / kind).rglob("*") if path.is_file()) for kind in KINDS}

ODD = (
    *(None, True, -1, 0, 1e308, -1e308, 10**400, float("nan"), float("inf"), 2**63, "", "a" * 5000, "\0", "\ud800"),
    *("../../../etc/passwd", "http://[", "[]", "1", [], {}, [[]], [None], [{}], {"": None}, [1, "x"], [[1, 2], [3]]),
)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


odd_values = st.sampled_from(ODD) | st.integers(0, 200).map(nested) | st.floats() | st.text(max_size=20)
odd_texts = st.sampled_from([str(value) for value in ODD]) | st.text(max_size=20)


@st.composite
def edited(draw: st.DrawFn, content: bytes) -> bytes:
    """A few bytes changed, removed, repeated or put in; perhaps cut off."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(changed) - 1)))
        end = min(len(changed), start + draw(st.integers(0, 8)))
        changed[start:end] = draw(st.binary(max_size=8) | st.just(bytes(changed[start:end]) * 3))
    return bytes(changed[: draw(st.integers(0, len(changed)))]) if draw(st.integers(0, 3)) == 0 else bytes(changed)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container within a JSON value, and each of its keys."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return [(value, key) for key in keys] + [found for key in keys for found in places(value[key])]


@st.composite
def json_edited(draw: st.DrawFn, content: bytes) -> bytes:
    """Values replaced by odd ones, removed, or called otherwise."""
    value = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        found = places(value)
        if not found:
            break
        holder, key = draw(st.sampled_from(found))
        if draw(st.booleans()):
            holder[key] = draw(odd_values)
        elif isinstance(holder, dict):
            holder[draw(odd_texts)] = holder.pop(key)
        else:
            holder.insert(key, holder[draw(st.integers(0, len(holder) - 1))])
    return json.dumps(value).encode()


@st.composite
def text_edited(draw: st.DrawFn, content: bytes) -> bytes:
    """Words between the signs of CSV, XML and plain lines replaced by odd ones; lines removed or repeated."""
    lines = content.decode().splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(lines) - 1))
        words = re.split(r'([\s,;"=<>]+)', lines[number])
        words[draw(st.integers(0, len(words) - 1))] = draw(odd_texts)
        lines[number] = draw(st.sampled_from(["".join(words), "", lines[number] * 2]))
        lines = lines if any(lines) else [""]
    return "".join(lines).encode(errors="surrogatepass")


@st.composite
def mat_edited(draw: st.DrawFn, content: bytes) -> bytes:
    """What is compressed in a MATLAB file, edited and compressed again: its checksum is right."""
    _, size = struct.unpack_from("<II", content, 128)
    packed = zlib.compress(draw(edited(zlib.decompress(content[136 : 136 + size]))))
    return content[:128] + struct.pack("<II", 15, len(packed)) + packed + content[136 + size :]


def damaged(path: Path) -> st.SearchStrategy[bytes]:
    content = path.read_bytes()
    structural = {".json": json_edited, ".csv": text_edited, ".xml": text_edited, ".txt": text_edited}
    if path.suffix == ".mat" and content[128:129] == b"\x0f":
        return edited(content) | mat_edited(content)
    return edited(content) | structural[path.suffix](content) if path.suffix in structural else edited(content)


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def import_all(kind: str, root: Path) -> None:
    """Recognise and read a tree as `dotfield data check` does; a UserError is an answer."""
    problems: list[Problem] = []
    try:
        plugins.recognise(root)
        choice = Choice.model_validate({"kind": kind, "root": str(root)} | OPTIONS.get(kind, {}))
        dataset = plugins.build("dataset", kind, plugins.resolve("dataset", choice, "test"))
        images = [*prepare_images(dataset, None, problems)]
    except UserError:
        return
    assert all(len(image.dots) == 0 or image.dots.min() >= 0 for image in images)


def try_damaged(kind: str, data: st.DataObject, folder: Path) -> None:
    """Import the tree of a kind with one damaged file, within bounds of time and memory."""
    path = data.draw(st.sampled_from(FILES[kind]), label="file")
    content = data.draw(damaged(path), label="content")
    root = Path(shutil.copytree(RAW / kind, folder / kind))
    (root / path.relative_to(RAW / kind)).write_bytes(content)
    seconds, memory = processor_seconds(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    import_all(kind, root)
    assert processor_seconds() - seconds < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEGABYTES * 1024


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=EXAMPLES or 8,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_a_damaged_file_is_read_or_reported(kind: str, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        try_damaged(kind, data, Path(folder))
