"""Pictures taken from an inbox: each once, whatever is done again, and only those that are whole."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.config import plugins
from components.errors import UserError
from components.inbox import ingest as ingesting
from components.inbox.items import name_refusal
from tests.inbox.conftest import NOW, OLD, STUDY, Yard, label, picture

Arrived = Callable[[int], Yard]


def counted(yard: Yard) -> dict[str, int]:
    """People by picture, as the project's reader finds them in the raw data set."""
    dataset = plugins.build("dataset", yard.raw.source.kind, yard.raw.options)
    problems: list[Any] = []
    found = {sample.id: len(sample.dots) for sample in dataset.samples(problems)}
    assert not problems
    return found


def test_new_pictures_are_taken_once_and_listed_with_what_they_show(arrived: Arrived) -> None:
    yard = arrived(5)
    first = yard.ingest()
    assert len(first.accepted) == 5
    assert counted(yard) == {f"cam{n % 2}/shot-{n:03d}": 2 for n in range(5)}
    assert [(line["camera"], line["width"], line["height"], line["people"]) for line in yard.manifest()] == [
        (f"cam{n}", 64, 48, 2) for n in (0, 0, 0, 1, 1)
    ]
    manifest = yard.raw.accepted.read_bytes()
    again = yard.ingest()
    assert (again.accepted, again.refused, again.waiting, again.unchanged) == ([], {}, {}, 10)
    assert yard.raw.accepted.read_bytes() == manifest


def test_an_inbox_that_is_empty_or_not_there(yard: Yard) -> None:
    assert yard.ingest().accepted == []
    assert not yard.raw.accepted.exists()
    Path("inbox").rmdir()
    with pytest.raises(UserError, match="there is no folder inbox"):
        yard.ingest()


def test_without_what_was_seen_all_is_fetched_again_and_nothing_changes(arrived: Arrived) -> None:
    yard = arrived(3)
    yard.ingest()
    before = {path: (yard.raw.root / path).stat().st_mtime_ns for path in yard.files()}
    yard.paths.seen.unlink()
    assert yard.ingest().accepted == []
    assert {path: (yard.raw.root / path).stat().st_mtime_ns for path in yard.files()} == before


def test_what_is_half_uploaded_waits(yard: Yard) -> None:
    yard.arrive("late", 1, changed=NOW - 10)
    yard.put("alone.png", picture(2))
    yard.put("lonely.json", label(1))
    yard.put("cut.png", picture(3, (400, 300))[:-200])
    yard.put("cut.json", label(1))
    yard.put("nothing.png", b"")
    yard.put("nothing.json", label(1))
    found = yard.ingest()
    assert found.waiting == {
        "late.png": "changed less than 60 s ago",
        "late.json": "changed less than 60 s ago",
        "alone.png": "has no label yet",
        "lonely.json": "has no picture yet",
        "cut.png": "is cut off: the rest may still come",
        "nothing.png": "is empty: the rest may still come",
    }
    assert yard.files() == set()
    yard.put("alone.json", label(2))
    yard.put("cut.png", picture(3), OLD + 5)
    assert len(yard.ingest(NOW + 100).accepted) == 3


def test_what_stays_cut_off_is_refused_after_a_day(yard: Yard) -> None:
    yard.put("cut.png", picture(3, (400, 300))[:-200])
    yard.put("cut.json", label(1))
    assert yard.ingest(OLD + 23 * 3600).refused == {}
    assert "cannot be decoded" in yard.ingest(OLD + 25 * 3600).refused["cut.png"]


@pytest.mark.parametrize("name", ["../up", "a/../../up", ".hid", "a//b", "tab\there", "new\nline", "a\\b", "trail./a"])
def test_names_that_are_no_names_of_files_are_refused(name: str) -> None:
    assert name_refusal(f"{name}.png")


@pytest.mark.parametrize("name", ["cam 1/Straße (2).png", "2026-11-26T22.50.png", "広場/a.jpg"])
def test_names_that_people_use_are_taken(name: str, yard: Yard) -> None:
    stem = name.rsplit(".", 1)[0]
    yard.put(name, picture(1))
    yard.put(f"{stem}.json", label(3))
    assert [line["picture"] for line in yard.ingest().accepted] == [name]
    assert counted(yard) == {stem: 3}


def test_links_are_refused_and_never_followed(yard: Yard, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(1))
    Path("inbox/a.png").symlink_to(secret)
    Path("inbox/folder").symlink_to(tmp_path)
    yard.put("a.json", label(1))
    os.mkfifo("inbox/pipe.png")
    found = yard.ingest()
    assert found.refused == {
        "a.png": "is a symbolic link",
        "folder": "is a symbolic link",
        "pipe.png": "is no regular file",
    }
    assert yard.files() == set()


def test_two_pictures_with_one_label_are_refused(yard: Yard) -> None:
    yard.arrive("a", 1)
    yard.put("a.jpg", picture(2, kind="JPEG"))
    assert {*yard.ingest().refused} == {"a.png", "a.jpg", "a.json"}


def test_copies_are_refused(yard: Yard) -> None:
    """Of a picture that was taken, of one that was there before, and of a held-out one, also saved otherwise."""
    source = STUDY["datasets"]["yard"]["source"] | {"halves": {"train": "train", "test": "test"}}
    for half in ("train", "test"):
        (yard.raw.root / half).mkdir()
    (yard.raw.root / "test" / "held.png").write_bytes(picture(1, (256, 192)))
    (yard.raw.root / "train" / "old.png").write_bytes(picture(2))
    yard.configure(STUDY | {"datasets": {"yard": {"source": source}}})
    yard.put("a.jpg", picture(1, (256, 192), "JPEG"))
    yard.put("a.json", json.dumps({"shapes": []}).encode())
    yard.put("b.png", picture(1, (256, 192)))
    yard.put("b.json", json.dumps({"shapes": []}).encode())
    for name, seed in (("c", 2), ("d", 3), ("e", 3)):
        yard.arrive(name, seed)
    found = yard.ingest()
    assert found.refused == {
        "a.jpg": "is a copy of the held-out image test/held.png",
        "b.png": "is a copy of the held-out image test/held.png",
        "c.png": "is a copy of train/old.png",
        "e.png": "is a copy of train/d.png",
    }
    assert [line["picture"] for line in found.accepted] == ["train/d.png"]


def test_a_corrected_label_replaces_the_first(yard: Yard) -> None:
    yard.arrive("a", 1, people=2)
    yard.ingest()
    yard.put("a.json", label(5), OLD + 9)
    assert [line["people"] for line in yard.ingest().accepted] == [5]
    assert counted(yard) == {"a": 5}
    assert [line["people"] for line in yard.manifest()] == [2, 5], "the manifest only grows"


def test_another_picture_of_a_name_that_is_taken_is_refused(yard: Yard) -> None:
    yard.arrive("a", 1)
    yard.ingest()
    yard.put("a.png", picture(2), OLD + 9)
    assert yard.ingest().refused == {"a.png": "another picture has this name: give each picture a name of its own"}
    assert (yard.raw.root / "a.png").read_bytes() == picture(1)


def test_a_picture_that_was_removed_by_hand_does_not_come_back(yard: Yard) -> None:
    yard.arrive("a", 1)
    yard.ingest()
    (yard.raw.root / "a.png").unlink()
    yard.paths.seen.unlink()
    assert yard.ingest().refused == {"a.png": "was taken before, and removed by hand"}


def test_bad_objects_among_good_ones_are_refused_and_the_rest_taken(arrived: Arrived) -> None:
    yard = arrived(100)
    yard.put("cam0/shot-010.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    yard.put("cam1/shot-091.json", b"{")
    found = yard.ingest()
    assert len(found.accepted) == 98
    assert {*found.refused} == {"cam0/shot-010.png", "cam1/shot-091.png"}
    assert len(counted(yard)) == 98


@pytest.mark.parametrize("last", range(1, 10))
def test_a_night_that_is_killed_at_any_write_is_made_good_by_the_next(
    last: int, arrived: Arrived, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed within its last-th write: six files, what is to be decided on, the manifest, and what was seen."""
    yard = arrived(3)
    write, writes = Path.replace, 0

    class Killed(BaseException):
        pass

    def replace(path: Path, target: Path) -> Path:
        nonlocal writes
        writes += 1
        if writes == last:
            raise Killed
        return write(path, target)

    with monkeypatch.context() as killing:
        killing.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            yard.ingest()
    assert yard.ingest().undecided == {f"cam{n % 2}/shot-{n:03d}.png": "" for n in range(3)}
    assert len(counted(yard)) == 3
    assert len({line["sha256"] for line in yard.manifest()}) == len(yard.manifest()) == 3
    assert yard.files() == {f"cam{n % 2}/shot-{n:03d}.{end}" for n in range(3) for end in ("png", "json")}
    assert (yard.ingest().accepted, yard.ingest().unchanged) == ([], 6)


def test_what_a_full_disk_stopped_is_made_good_by_the_next_night(arrived: Arrived) -> None:
    """The largest file that may be written grows: from none of the pictures, to all but the manifest, to all."""
    yard = arrived(4)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in Path("inbox").rglob("*.png"))
    for limit in (0, 100, largest, 4 * largest):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            if limit <= largest:
                with pytest.raises(OSError, match="File too large"):
                    yard.ingest()
            else:
                yard.ingest()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(yard.manifest()) == 4
    assert counted(yard) == {f"cam{n % 2}/shot-{n:03d}": 2 for n in range(4)}


@pytest.mark.parametrize(
    ("kind", "options", "names", "contents"),
    [
        ("yolo", {}, ("a.png", "a.txt"), b"0 0.5 0.5 0.1 0.1\n0 0.2 0.2 0.1 0.1\n"),
        ("dot_png", {}, ("acell.png", "adots.png"), None),
        ("dot_png", {"image": "", "dots": "_dots"}, ("a.png", "a_dots.png"), None),
    ],
)
def test_each_kind_with_a_label_beside_each_picture(
    kind: str, options: dict, names: tuple[str, str], contents: bytes | None, yard: Yard
) -> None:
    source = {"kind": kind, "root": "data/yard"} | options
    yard.configure(STUDY | {"datasets": {"yard": {"source": source}}})
    yard.put(names[0], picture(1))
    yard.put(names[1], dots_image() if contents is None else contents)
    assert [line["people"] for line in yard.ingest().accepted] == [2]
    assert yard.files() == {*names}


def dots_image() -> bytes:
    from io import BytesIO

    from PIL import Image

    image, file = Image.new("RGB", (64, 48)), BytesIO()
    for place in ((10, 10), (30, 30)):
        image.putpixel(place, (255, 0, 0))
    image.save(file, "PNG")
    return file.getvalue()


def test_a_kind_that_lists_many_images_in_one_file_is_refused(yard: Yard) -> None:
    with pytest.raises(UserError, match="an inbox cannot feed coco; it can feed dot_png, labelme, yolo"):
        yard.configure(STUDY | {"datasets": {"yard": {"source": {"kind": "coco", "root": "data/yard"}}}})


def test_a_bucket_is_read_as_a_folder_is(arrived: Arrived, s3: Any) -> None:
    yard = arrived(3)
    for path in Path("inbox").rglob("*.*"):
        s3.upload_file(str(path), "crowds", f"night/{path.relative_to('inbox').as_posix()}")
    s3.put_object(Bucket="crowds", Key="night/../evil.png", Body=b"x")
    yard.configure(inbox="s3://crowds/night", settle=0)
    found = yard.ingest()
    assert len(found.accepted) == 3
    assert {*found.refused} == {"../evil.png"}
    assert len(counted(yard)) == 3
    assert yard.ingest().unchanged == 7
    yard.configure(inbox="s3://crowds-that-are-not/night")
    with pytest.raises(UserError, match="s3://crowds-that-are-not/night: cannot be listed"):
        yard.ingest()


def test_batches_do_not_change_what_is_taken(arrived: Arrived, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingesting, "SAVE_EVERY", 3)
    monkeypatch.setattr(ingesting, "BATCH", 2)
    yard = arrived(7)
    assert len(yard.ingest().accepted) == 7
    assert [json.loads(line)["outcome"] for line in yard.paths.seen.read_text().splitlines()] == ["taken"] * 14
