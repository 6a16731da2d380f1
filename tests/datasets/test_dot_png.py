"""Images of dots: what is surely dots is counted, everything else is refused or read by an option."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.config import plugins
from tests.own_data import read, said

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)
HEIGHT, WIDTH = 12, 16


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    return path


def drawn(*marks: tuple[int, int, tuple[int, ...]], ground: tuple[int, ...] = (0, 0, 0)) -> np.ndarray:
    """An image (12, 16, channels) with pixels at x, y of a colour."""
    pixels = np.full((HEIGHT, WIDTH, len(ground)), ground, np.uint8)
    for x, y, colour in marks:
        pixels[y, x] = colour
    return pixels


def save(root: Path, pixels: np.ndarray, name: str = "1dots.png", mode: str | None = None, **options: object) -> Path:
    picture(root / "1cell.png")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    image = image.convert(mode, palette=Image.Palette.ADAPTIVE) if mode else image
    image.save(root / name, **options)
    return root


def refused(root: Path, **options: object) -> str:
    """Why the only image of dots was refused."""
    dots, problems = read("dot_png", root, **options)
    assert dots == {}
    return said(problems)[0][1]


def square(x: int, y: int, side: int = 3) -> list[tuple[int, int, tuple[int, ...]]]:
    return [(x + column, y + row, RED) for row in range(side) for column in range(side)]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1"])
def test_a_pure_pixel_is_a_dot_in_its_middle(tmp_path: Path, mode: str) -> None:
    colour = WHITE if mode in ("L", "1") else RED
    save(tmp_path, drawn((0, 0, colour), (5, 2, colour)), mode=mode)
    assert read("dot_png", tmp_path) == ({"1": [[0.5, 0.5], [5.5, 2.5]]}, [])


def test_an_image_of_dots_without_marks_shows_nobody(tmp_path: Path) -> None:
    assert read("dot_png", save(tmp_path, drawn())) == ({"1": []}, [])


def test_dots_of_another_size_are_left_out_with_their_image(tmp_path: Path) -> None:
    save(tmp_path, np.zeros((6, 9, 3), np.uint8))
    sizes = "9 x 6 px, not 16 x 12 px"
    assert refused(tmp_path) == f"is not of the size of 1cell.png ({sizes}): save both in one size"


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (drawn(*square(2, 2), *square(9, 6)), "18 of its 18 marked pixels touch another, in 2 groups: set `touching"),
        (drawn((3, 3, RED), (9, 9, GREEN)), "its marks have 2 colours (rgb(0, 255, 0), rgb(255, 0, 0)...), not one"),
        (drawn((3, 3, (200, 0, 0))), "its marks are rgb(200, 0, 0), which is no pure colour: set `colour` or"),
        (drawn((3, 3, RED), ground=WHITE), "its ground is rgb(255, 255, 255), not black: set `colour`"),
        (drawn((3, 3, (255, 0, 0, 128)), ground=(0, 0, 0, 255)), "is transparent in places: save it as PNG in RGB"),
    ],
)
def test_what_is_not_surely_dots_is_refused(tmp_path: Path, pixels: np.ndarray, why: str) -> None:
    assert refused(save(tmp_path, pixels)).startswith(why)


def test_a_lossy_file_is_refused_and_read_by_a_threshold(tmp_path: Path) -> None:
    marks = [*square(2, 2), *square(9, 6)]
    save(tmp_path, drawn(*marks), "1dots.jpg", quality=90)
    assert refused(tmp_path).startswith("is of a format that changes colours: save it as PNG in RGB, or set")
    dots, problems = read("dot_png", tmp_path, threshold=128)
    assert problems == []
    assert np.allclose(dots["1"], [[3.5, 3.5], [10.5, 7.5]], atol=0.5)


def test_a_group_of_pixels_is_one_dot_at_its_middle(tmp_path: Path) -> None:
    save(tmp_path, drawn(*square(2, 2), *square(9, 6, side=2)))
    assert read("dot_png", tmp_path, touching="groups") == ({"1": [[3.5, 3.5], [10, 7]]}, [])
    assert read("dot_png", tmp_path, threshold=255) == ({"1": [[3.5, 3.5], [10, 7]]}, [])
    dots, problems = read("dot_png", tmp_path, touching="pixels")
    assert (len(dots["1"]), problems) == (13, [])


def test_groups_that_may_be_several_dots_are_said(tmp_path: Path) -> None:
    save(tmp_path, drawn(*square(0, 0), *square(5, 0), *square(10, 0), *square(0, 6), *square(3, 6)))
    dots, problems = read("dot_png", tmp_path, touching="groups")
    assert dots == {"1": [[1.5, 1.5], [6.5, 1.5], [11.5, 1.5], [3, 7.5]]}
    assert said(problems) == [("1dots.png", "1 of its 4 groups of pixels are far larger than the others")]


def test_a_few_single_pixels_that_touch_are_counted_and_said(tmp_path: Path) -> None:
    alone = [(x, y, RED) for x in range(0, 16, 2) for y in range(0, 8, 2)]
    save(tmp_path, drawn(*alone, (3, 10, RED), (4, 11, RED)))
    dots, problems = read("dot_png", tmp_path)
    assert len(dots["1"]) == 34
    assert said(problems) == [("1dots.png", "2 of its 34 marked pixels touch another, in 1 groups")]


def test_dots_of_one_colour_are_read_on_any_ground(tmp_path: Path) -> None:
    save(tmp_path, drawn((3, 3, RED), (9, 9, GREEN), (12, 2, (130, 120, 110)), ground=WHITE))
    assert read("dot_png", tmp_path, colour="red") == ({"1": [[3.5, 3.5]]}, [])
    assert read("dot_png", tmp_path, colour="green") == ({"1": [[9.5, 9.5]]}, [])
    assert refused(tmp_path, colour="white") == "more than half of it is marked: marks must be bright on a dark ground"


def test_names_may_be_patterns(tmp_path: Path) -> None:
    picture(tmp_path / "images/7.png")
    save(tmp_path, drawn((3, 3, RED)), "dots/7_gt.png")
    assert read("dot_png", tmp_path, image="images/{}.png", dots="dots/{}_gt.png") == ({"7": [[3.5, 3.5]]}, [])


@pytest.mark.parametrize(("image", "dots"), [("7.jpg", "7dots.png"), ("7.png", "7_dots.png")])
def test_the_layouts_of_trancos_and_mbm_are_recognised(tmp_path: Path, image: str, dots: str) -> None:
    picture(tmp_path / image)
    save(tmp_path, drawn((3, 3, RED)), dots)
    (tmp_path / "1cell.png").unlink()
    (found,) = plugins.recognise(tmp_path)
    assert found.kind == "dot_png"
    assert read("dot_png", tmp_path, **found.options) == ({"7": [[3.5, 3.5]]}, [])
    assert read("dot_png", tmp_path, image=None, dots=found.options["dots"])[0] == {"7": [[3.5, 3.5]]}


def test_two_images_of_dots_of_one_name_are_left_out(tmp_path: Path) -> None:
    save(save(tmp_path, drawn((3, 3, RED))), drawn((3, 3, RED)), "1dots.bmp")
    assert refused(tmp_path) == "has the name of 1dots.png"


@pytest.mark.real
def test_the_cells_are_read_whole(real: Path) -> None:
    dots, problems = read("dot_png", real / "cells", touching="pixels")
    assert problems == []
    assert len(dots) == 200
    counts = {name: len(found) for name, found in dots.items()}
    assert (min(counts.values()), max(counts.values())) == (74, 317)
    for name in ("001", "100", "200"):
        red = Image.open(real / f"cells/{name}dots.png").getchannel("R").histogram()
        assert counts[name] == sum(red[1:])
        assert (np.array(dots[name]) <= 256).all()
