"""Pictures from every place: read as they are, in order; what cannot be read is said and stops no other."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from components.counting.pictures import Picture, find_pictures
from components.errors import UserError


def names(pictures: list[Picture], start: Path) -> list[str]:
    return [str(Path(picture.name).relative_to(start)) for picture in pictures]


def write_video(file: Path, frames: int, rate: int = 10, rotation: int = 0) -> None:
    """Frames of one grey each, 8 levels lighter from frame to frame, with a white left half."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        for number in range(frames):
            pixels = np.full((48, 64, 3), 8 * number, np.uint8)
            pixels[:, :32] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def test_a_folder_gives_its_pictures_by_name_and_leaves_out_what_is_none(folder: Path) -> None:
    (folder / ".thumbnails").mkdir()
    Image.new("RGB", (4, 4)).save(folder / ".thumbnails" / "hidden.png")
    assert names(list(find_pictures([str(folder)])), folder) == ["a.jpg", "b.png", "cam/c.png"]


def test_words_go_in_their_order_and_patterns_reach_into_folders(folder: Path) -> None:
    found = list(find_pictures([str(folder / "b.png"), str(folder / "**/*.png")]))
    assert names(found, folder) == ["b.png", "b.png", "cam/c.png"]
    assert np.array_equal(found[0].read(), np.asarray(Image.open(folder / "b.png")))


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("nothing.jpg", "nothing.jpg: there is no such file"),
        ("*.jpg", r"\*\.jpg: matches no file"),
        ("empty", "empty: has no image that can be decoded"),
        ("damaged.png", r"damaged\.png: cannot be decoded"),
        ("damaged.mp4", r"damaged\.mp4: cannot be decoded as a video"),
    ],
)
def test_what_cannot_be_read_says_why_and_the_others_go_on(tmp_path: Path, monkeypatch, word: str, why: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "damaged.mp4").write_bytes(b"no video")
    Image.new("RGB", (8, 8)).save("good.png")
    bad, good = find_pictures([word, "good.png"])
    with pytest.raises(UserError, match=why):
        bad.read()
    assert good.read().shape == (8, 8, 3)


def test_standard_input_is_one_image(monkeypatch) -> None:
    file = io.BytesIO()
    Image.new("L", (6, 4), 7).save(file, "PNG")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.getvalue())))
    (picture,) = find_pictures(["-"])
    assert np.array_equal(picture.read(), np.full((4, 6, 3), 7, np.uint8))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("I;16", 0x80FF, (0x80, 0x80, 0x80)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("1", 1, (255, 255, 255)),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, mode: str, colour, expected) -> None:
    file = tmp_path / ("picture.tiff" if mode == "CMYK" else "picture.png")
    Image.new(mode, (5, 3), colour).save(file)
    (picture,) = find_pictures([str(file)])
    assert np.array_equal(picture.read(), np.broadcast_to(np.uint8(expected), (3, 5, 3)))


def test_a_picture_is_turned_as_its_orientation_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # 90 degrees clockwise
    Image.new("RGB", (6, 4)).save(tmp_path / "turned.jpg", exif=exif)
    (picture,) = find_pictures([str(tmp_path / "turned.jpg")])
    assert picture.read().shape == (6, 4, 3)


@pytest.mark.parametrize(("every", "expected"), [(0, range(12)), (0.5, [0, 5, 10]), (1, [0, 10])])
def test_a_video_gives_frames_at_their_times(tmp_path: Path, every: float, expected) -> None:
    write_video(tmp_path / "video.mp4", 12)
    found = list(find_pictures([str(tmp_path / "video.mp4")], every))
    assert [picture.frame for picture in found] == list(expected)
    assert [picture.seconds for picture in found] == pytest.approx([number / 10 for number in expected])
    for picture in found:
        pixels = picture.read()
        assert pixels.shape == (48, 64, 3)
        assert pixels[10:40, 40:60].mean() == pytest.approx(8 * picture.frame, abs=4)
        assert pixels[10:40, 4:24].mean() > 230


def test_a_sound_file_has_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    (picture,) = find_pictures([str(tmp_path / "sound.mp4")])
    with pytest.raises(UserError, match="has no video in it"):
        picture.read()


def test_a_bucket_gives_objects_prefixes_and_patterns(folder: Path, s3) -> None:
    for file in ("a.jpg", "b.png", "cam/c.png", "notes.txt"):
        s3.upload_file(str(folder / file), "crowds", f"pictures/{file}")
    found = list(find_pictures(["s3://crowds/pictures"]))
    assert [picture.name for picture in found] == [
        "s3://crowds/pictures/a.jpg",
        "s3://crowds/pictures/b.png",
        "s3://crowds/pictures/cam/c.png",
    ]
    assert np.array_equal(found[1].read(), np.asarray(Image.open(folder / "b.png")))
    (one,) = find_pictures(["s3://crowds/pictures/b.png"])
    assert one.name == "s3://crowds/pictures/b.png"
    assert [picture.name for picture in find_pictures(["s3://crowds/pictures/*.jpg"])] == ["s3://crowds/pictures/a.jpg"]


@pytest.mark.parametrize("address", ["s3://nowhere/a.jpg", "s3://crowds/none"])
def test_an_address_without_pictures_says_so(s3, address: str) -> None:
    (picture,) = find_pictures([address])
    with pytest.raises(UserError, match=address):
        picture.read()
