"""Inputs that people really had, where they lie beside the project: each gives what its README expects.

`../shared/cases` is not part of the project; where it is absent, these tests are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from components.config import plugins
from components.config.options import Choice
from tests.own_data import read

CASES = Path(__file__).parents[3] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"there are no cases at {CASES}")


class Case(NamedTuple):
    """The folder of a case, how many dots each image gives, and words of the problems, one of each in order."""

    folder: str
    dots: dict[str, int]
    words: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


EXPECTED = (
    Case(
        "01-cvat-video-frame-names/data",
        {f"images/frame_{number:06}.png": dots for number, dots in enumerate((4, 5, 6))},
    ),
    Case("02-cvat-same-name-two-tasks/data", {"images/IMG_2.jpg": 7}, ("IMG_1.jpg is listed twice (5 dots",)),
    Case("03-labelstudio-labels-and-keypoint/data", {"crowd.jpg": 4}),
    Case("03-labelstudio-labels-and-keypoint/data", {"crowd.jpg": 3}, (), (("labels", ["adult"]),)),
    Case("03-labelstudio-labels-and-keypoint/data", {"crowd.jpg": 1}, (), (("labels", ["child"]),)),
    Case("04-labelstudio-completions/data", {"a.jpg": 2, "b.jpg": 2}),
    Case(
        "06-coco-merged-duplicate-ids/data", {"site1_0002.jpg": 3}, ("id 1 stands for 'site1_0001.jpg' and 'site2",) * 2
    ),
    Case("07-labelme-resized-after-annotation/data", {"q1": 4, "q2": 4}, ("128 x 96 px and has 64 x 48 px",)),
    Case("07-labelme-resized-after-annotation/data-enlarged", {"q1": 4}, ("128 x 96 px and has 256 x 192 px",)),
    Case("09-via-1.0-csv-header/data", {"a.jpg": 2, "b.jpg": 1}),
    Case("12-via-one-json-an-image/data", {f"00{number}.jpg": 3 for number in range(1, 6)}),
    Case("13-via-3-project/data", {"a.jpg": 2}),
    Case("15-two-images-one-name/data", {"p1": 3, "p2": 0}, ("has no .json with its dots",)),
    Case("16-labelme-odd-shapes/data", {"o": 8}, ("shapes without points: 1",)),
    Case(
        "18-coco-empty-boxes-beside-keypoints/data", {"a.jpg": 3}, ("has no labelled keypoint", "b.jpg cannot be used")
    ),
    Case(
        "19-points-csv-from-excel/data-comma-in-name", {"a.jpg": 1, "b.jpg": 1}, ("no image 'gate'", "is not listed in")
    ),
    Case("19-points-csv-from-excel/data-fractions", {}, ("lie within one pixel: set `units: fractions`",)),
    Case("19-points-csv-from-excel/data-fractions", {"a.jpg": 20, "b.jpg": 20}, (), (("units", "fractions"),)),
    Case(
        "19-points-csv-from-excel/data-short-row", {}, ("has 1 cells, the first row 3", "has 1 cells, the first row 3")
    ),
    Case("20-dot-png-drawn-by-hand/data-three-pixels", {}, ("27 of its 27 marked pixels touch another, in 3 groups",)),
    Case("20-dot-png-drawn-by-hand/data-three-pixels", {"001": 3}, (), (("touching", "groups"),)),
    Case("21-shanghaitech-mat-by-python/data", {f"train-IMG_{number}": 5 for number in (1, 2, 3)}),
    Case("22-labelstudio-json-min/data", {"a.jpg": 2}),
    Case("23-cvat-skeleton-and-outside/data", {"a.jpg": 2}, ("marked as outside", "skeleton (line 4)")),
    Case("24-windows-byte-order-mark/data-coco", {"a.jpg": 1}),
    Case("24-windows-byte-order-mark/data-jhu", {"train-1": 2}),
    Case("24-windows-byte-order-mark/data-labelme", {"a": 1}, ("is not UTF-8 text",)),
    Case("25-case-and-accents-of-names/data-case", {"DSC_01.jpg": 1, "b.jpg": 1}),
    Case("25-case-and-accents-of-names/data-upload", {"Yard 1 (north).jpg": 1, "b.jpg": 1}),
    Case("27-folders-below-images/data", {"images/train/0001.jpg": 1, "images/val/0001.jpg": 1}),
    Case("28-label-nobody-has/data", {}, ("names: 'head'; there are: 'Head '",), (("labels", ["head"]),)),
    Case("31-labelstudio-image-imported-twice/data", {"crowd.jpg": 3}, ("crowd.jpg is listed twice (3 dots",)),
    Case("32-labelstudio-several-texts-in-data/data", {"d.jpg": 1}),
    Case("34-dropped-shape-image-kept/data", {"a": 10, "b": 3}),
    Case(
        "37-coco-train-and-val-files/data",
        {"train2017/0001.jpg": 3, "train2017/0002.jpg": 3, "val2017/0003.jpg": 3},
    ),
    Case("38-trancos-mbm-dots/data", {"image-1-000001": 1}),
)


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: "-".join(map(str, (case.folder, *dict(case.options)))))
def test_each_case_gives_what_is_expected_of_it(case: Case) -> None:
    (found,) = plugins.recognise(CASES / case.folder)
    choice = Choice.model_validate(found.model_dump() | dict(case.options))
    dots, problems = read(choice.kind, CASES / case.folder, **choice.options)
    assert {name: len(places) for name, places in dots.items()} == case.dots
    assert [word in problem.what for problem, word in zip(problems, case.words, strict=True)] == [True] * len(problems)
