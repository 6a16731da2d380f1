"""What is to be counted: images from files, folders, patterns, buckets and standard input, and frames of videos.

An image is read where it is counted, so that many are decoded at once; the frames of a video are decoded in order."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.data.decode import image_suffixes, read_image
from components.errors import UserError, one_line

if TYPE_CHECKING:
    from s3fs import S3FileSystem

VIDEOS = {".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
STANDARD_INPUT = "-"
S3 = "s3://"


@dataclass(frozen=True)
class Picture:
    """One image to count on; `read` gives its pixels (H, W, 3) uint8 RGB, upright, or raises UserError.

    A frame of a video has its number, from 0, and its time in the video in seconds."""

    name: str
    read: Callable[[], np.ndarray]
    frame: int | None = None
    seconds: float | None = None


def find_pictures(words: Sequence[str], every: float = 1.0) -> Iterator[Picture]:
    """The pictures that the words of a command line name, in their order.

    A word is a file, a folder (with those below it), a pattern such as `cam-*/*.jpg`, an `s3://` address of an object,
    a prefix or a pattern, a video's file or the address of a stream, or `-`: one image from standard input. Of a video
    there is a frame every so many seconds; all, if `every` is 0. A word that names nothing is a picture that cannot be
    read: the others go on."""
    for word in words:
        if not word:
            yield unreadable("''", "is the empty name")
        elif word == STANDARD_INPUT:
            yield Picture("standard input", lambda: decode(sys.stdin.buffer.read(), "standard input"))
        elif word.startswith(S3):
            yield from _objects(word)
        elif "://" in word:
            yield from video_frames(word, every)
        else:
            yield from _files(word, every)


def decode(contents: bytes, name: str) -> np.ndarray:
    """The pixels (H, W, 3) uint8 of an image file's contents. Raises UserError: see `read_image`."""
    return np.asarray(read_image(io.BytesIO(contents), name))


def _files(word: str, every: float) -> Iterator[Picture]:
    path = Path(word)
    if path.is_dir():
        paths, nothing = _images_below(path), "has no image that can be decoded"
    elif path.exists() or not glob.has_magic(word):
        paths, nothing = [path], ""
    else:
        matches = sorted(Path(each) for each in glob.glob(word, recursive=True))  # noqa: PTH207 (of Path, no absolute ones)
        paths, nothing = [each for each in matches if each.is_file()], "matches no file"
    if not paths:
        yield unreadable(word, nothing)
    for each in paths:
        if each.suffix.lower() in VIDEOS:
            yield from video_frames(str(each), every)
        else:
            yield Picture(file_name(each), partial(_read_file, each))


def file_name(path: Path) -> str:
    """A path as text; bytes that are no UTF-8 are written as escapes, since tables hold none."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _images_below(folder: Path) -> list[Path]:
    """Images and videos in a folder and those below it, by name; hidden ones are left out."""
    suffixes = image_suffixes() | VIDEOS
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _read_file(path: Path) -> np.ndarray:
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    return np.asarray(read_image(path))


def _objects(address: str) -> Iterator[Picture]:
    """Objects of a bucket: one, those that a pattern matches, or the images under a prefix."""
    import s3fs  # half a second to import

    bucket = s3fs.S3FileSystem()
    try:
        # of an object, `find` finds itself
        keys = bucket.glob(address) if glob.has_magic(address) else bucket.find(address)
        suffixes = image_suffixes()
        images = [key for key in keys if Path(key).suffix.lower() in suffixes] if len(keys) > 1 else keys
    except Exception as error:  # whatever botocore and aiohttp raise for an address, a permission or a network
        yield unreadable(address, f"cannot be listed ({one_line(error)})")
        return
    if not images:
        yield unreadable(address, "has no image")
    for key in sorted(images):
        yield Picture(f"{S3}{key}", partial(_read_object, bucket, key))


def _read_object(bucket: S3FileSystem, key: str) -> np.ndarray:
    try:
        contents: bytes = bucket.cat_file(key)
    except Exception as error:
        raise UserError(f"{S3}{key}: cannot be fetched ({one_line(error)})") from None
    return decode(contents, f"{S3}{key}")


def video_frames(address: str, every: float) -> Iterator[Picture]:
    """Frames of a video or stream, one every so many seconds (0: all), turned as the video says.

    Where it cannot be opened, or is damaged from some frame on, the last picture is one that cannot be read."""
    try:
        import av
    except ImportError:
        yield unreadable(address, 'videos are read by PyAV: pip install "dotfield[video]"')
        return
    try:
        with av.open(address) as container:
            if not container.streams.video:
                yield unreadable(address, "has no video in it")
                return
            due = float("-inf")
            for number, frame in enumerate(container.decode(video=0)):
                seconds = float(number if frame.time is None else frame.time)
                if seconds >= due:
                    due = seconds + every if every else seconds
                    pixels = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
                    yield Picture(address, partial(np.asarray, pixels), number, seconds)
    except (av.FFmpegError, OSError) as error:
        yield unreadable(address, f"cannot be decoded as a video ({one_line(error)})")


def unreadable(name: str, why: str) -> Picture:
    """A picture whose reading raises UserError."""

    def read() -> np.ndarray:
        raise UserError(f"{name}: {why}")

    return Picture(name, read)
