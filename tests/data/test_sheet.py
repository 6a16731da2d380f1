"""`dotfield data show`: which pictures are on the sheet, and where their dots are drawn."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components import cli
from components.crowd import Problem, RawSample
from components.data.sheet import Picture, choose, draw_sheet, oddity
from tests.raw.tools import RAW

SIZE = (400, 300)


class Made:
    """Grey images of 400 x 300 px with these dots."""

    def __init__(self, *dots: list[tuple[float, float]]) -> None:
        self.dots = dots

    def __len__(self) -> int:
        return len(self.dots)

    def samples(self, problems: list[Problem]):
        for number, dots in enumerate(self.dots):
            yield RawSample(f"i{number}", np.full((300, 400, 3), 90, np.uint8), np.array(dots, float).reshape(-1, 2))


def yellow(sheet: Image.Image) -> np.ndarray:
    pixels = np.asarray(sheet).astype(int)
    return (abs(pixels - (255, 225, 77)) < 12).all(axis=2)


def test_dots_are_drawn_where_they_are() -> None:
    """The picture fills its tile of 460 x 345 px: 1.15 times its size, from (20, 60) on the sheet."""
    rows, columns = np.nonzero(yellow(draw_sheet(Made([(100, 200)]), "Title", 4)))
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((20 + 115, 60 + 230), abs=0.5)


def test_a_dropped_dot_is_a_red_cross_on_the_border() -> None:
    sheet = np.asarray(draw_sheet(Made([(450, 150)]), "Title", 4)).astype(int)
    red = (abs(sheet - (255, 42, 42)) < 12).all(axis=2)
    rows, columns = np.nonzero(red)
    assert not yellow(Image.fromarray(sheet.astype(np.uint8))).any()
    assert columns.max() == pytest.approx(20 + 460, abs=2)
    assert rows.mean() == pytest.approx(60 + 172.5, abs=2)


def test_odd_pictures_say_why() -> None:
    everywhere = np.random.default_rng(0).uniform(0, SIZE, (40, 2))
    lost, kept = (
        Problem("a", "2 dots outside", "dropped", "dots-outside"),
        Problem("a", "twice", "kept", "dots-coincide"),
    )
    assert oddity(everywhere, SIZE, []) == ("", 0)
    assert oddity(everywhere / 2, SIZE, [])[0].startswith("all dots are in the top left")
    assert oddity(everywhere[:0], SIZE, [])[0] == "no dot"
    assert oddity(everywhere, SIZE, [kept, lost])[0] == "2 dots outside: dropped"
    assert oddity(everywhere, SIZE, [kept])[0] == "twice"


def test_the_oddest_come_first_then_the_most_crowded_then_all_sorts() -> None:
    def picture(number: int, people: int, oddness: float = 0) -> Picture:
        return Picture(RawSample(str(number), None, np.zeros((0, 2))), SIZE, np.zeros((people, 2)), "", oddness)

    pictures = [picture(number, number) for number in range(20)] + [picture(20, 5, 2), picture(21, 5, 4)]
    shown = [each.sample.id for each in choose(pictures, 6)]
    assert shown[:4] == ["21", "20", "19", "18"]
    assert len(set(shown)) == 6
    assert int(shown[-1]) < 17  # not the most crowded: from the rest
    assert len(choose(pictures, 100)) == 22


def test_the_command_writes_a_sheet_for_each_data_set(tmp_path: Path, monkeypatch, capsys) -> None:
    def show(*words: object) -> int:
        monkeypatch.setattr("sys.argv", ["dotfield", "data", "show", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0

    raw = Path(shutil.copytree(RAW / "shanghaitech", tmp_path / "raw"))
    assert show(raw, "--out", tmp_path / "made/sheet.png") == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / f"made/sheet{end}.png") for end in ("", "-2")]
    assert Image.open(tmp_path / "made/sheet.png").width > 4 * 460
    assert show(raw, "--out", tmp_path / "sheet.gif") == 2
    assert "must end with .png or .jpg" in capsys.readouterr().err
