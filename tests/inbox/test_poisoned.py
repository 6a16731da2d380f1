"""An inbox of files made to do harm: all are refused, at a bounded cost, and what is good beside them is taken."""

from __future__ import annotations

import io
import json
import resource
import struct
import zipfile
import zlib
from collections.abc import Iterator

from PIL import Image

from tests.inbox.conftest import Yard, label, picture

MEGABYTES = 100  # that refusing all of them may take; the largest one would need 192 decoded


def chunk(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG that says it has this size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IEND", b"")])


def zeros(number: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(10**6)) for _ in range(number // 10**6)), packer.flush()])


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("../../up.png", picture(1))
    return file.getvalue()


def gif() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "GIF")
    return file.getvalue()


def poison() -> Iterator[tuple[str, bytes, str]]:
    """Names, contents, and what is said of them."""
    yield "bomb", png(8000, 8000, chunk(b"IDAT", zeros(192_000_000))), "says that it has 8000 x 8000 px"
    yield "absurd", png(2**31 - 1, 2**31 - 1), "is not an image in the format"
    yield "wide", png(40_000, 40), "says that it has 40000 x 40 px"
    yield "nothing", png(0, 10), "is not an image in the format"
    yield "tiny", png(1, 1, chunk(b"IDAT", zlib.compress(bytes(4)))), "a side is shorter than 32"
    yield "text", png(64, 48, chunk(b"zTXt", b"a\0\0" + zeros(30_000_000))), "is not an image in the format"
    yield (
        "svg",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc"/></svg>',
        "format",
    )
    yield "zip", archive(), "is not an image in the format"
    yield "gif", gif(), "is not an image in the format"
    yield "page", b"<html><script>alert(1)</script></html>", "is not an image in the format"
    yield "large", picture(1) + bytes(3 * 2**20), "more than 3,000,000"


def labels() -> Iterator[tuple[str, bytes, str]]:
    point = '{"label": "a", "shape_type": "point", "points": [[%s, 9]]}'
    yield "deep", b"[" * 100_000, "is not JSON"
    yield "places", ('{"shapes": [%s]}' % (point % "1e400")).encode(), "is no place in an image"
    yield "outside", ('{"shapes": [%s]}' % (point % "1e9")).encode(), "outside the image"
    yield "twice", b'{"shapes": [], "shapes": []}', "stands twice"
    yield "binary", bytes(range(256)), "is not UTF-8"
    yield "huge", json.dumps({"shapes": [], "a": "b" * 5_000_000}).encode(), "more than 4,194,304"


def test_all_are_refused_and_what_is_good_is_taken(yard: Yard) -> None:
    yard.configure(limits={"picture_bytes": 3_000_000})
    said = {}
    for name, contents, what in poison():
        said[f"{name}.png"] = what
        yard.put(f"{name}.png", contents)
        yard.put(f"{name}.json", label(1))
    for seed, (name, contents, what) in enumerate(labels()):
        said[f"{name}.png"] = what
        yard.put(f"{name}.png", picture(100 + seed))
        yard.put(f"{name}.json", contents)
    for name in ("drawing.svg", "all.zip", "all.tar.gz", "run.sh"):
        said[name] = "is neither a picture nor a label"
        yard.put(name, b"x")
    yard.arrive("good", 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = yard.ingest()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024
    assert {*found.refused} == {*said}
    assert {name: reason for name, reason in found.refused.items() if said[name] not in reason} == {}
    assert yard.files() == {"good.png", "good.json"}


def test_what_a_label_names_is_never_opened(yard: Yard) -> None:
    """The picture beside a label counts, whatever `imagePath` says."""
    yard.put("a.png", picture(1))
    yard.put("a.json", label(2).replace(b'{"shapes"', b'{"imagePath": "../../../etc/passwd", "shapes"'))
    assert [line["people"] for line in yard.ingest().accepted] == [2]
