"""Files of annotations and images that do not lie as expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.own_data import read, said


@pytest.mark.parametrize(("file", "written"), [("Café 1 (a).jpg", "Cafe\u0301_1_a.jpg"), ("Ä.jpg", "A\u0308.jpg")])
def test_accents_and_uploads_do_not_hide_an_image(tmp_path: Path, file: str, written: str) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / file)
    (tmp_path / "dots.csv").write_text(f"image,x,y\n{written},1,2\n")
    assert read("points", tmp_path) == ({file: [[1, 2]]}, [])


def test_a_folder_of_output_is_named_once_and_the_images_are_found(tmp_path: Path) -> None:
    for folder in ("images", "overlays"):
        (tmp_path / folder).mkdir()
        for name in ("a.jpg", "b.jpg"):
            Image.new("RGB", (8, 6)).save(tmp_path / folder / name)
    (tmp_path / "dots.csv").write_text("image,x,y\na.jpg,1,2\nb.jpg,,\n")
    dots, problems = read("points", tmp_path)
    assert dots == {"images/a.jpg": [[1, 2]], "images/b.jpg": []}
    what = "2 of the 2 images in this folder are not labelled in dots.csv: a.jpg, b.jpg"
    assert said(problems) == [("overlays", what)]
