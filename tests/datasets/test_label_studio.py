"""Label Studio: what its files may hold besides plain dots, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.own_data import HEIGHT, WIDTH, read, said


def keypoint(x: float, y: float, label: str = "head", **fields: object) -> dict:
    value = {"x": x, "y": y, "keypointlabels": [label]}
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    return {"type": "keypointlabels", "value": value} | size | fields


def label_studio(root: Path, *tasks: dict, annotations: str = "annotations") -> None:
    """Tasks of which `result` is the list of annotations' results."""
    full = [{"data": task["data"], annotations: [{"result": each} for each in task["results"]]} for task in tasks]
    (root / "export.json").write_text(json.dumps(full))


A = {"image": "/data/upload/12/0a1b2c3d-a.jpg"}

B = {"image": "/data/local-files/?d=more%2Fb.jpg"}


@pytest.mark.parametrize("annotations", ["annotations", "completions"])
def test_label_studio_gives_pixels_and_the_first_annotation_that_counts(root: Path, annotations: str) -> None:
    choice = {"type": "choices", "value": {"choices": ["busy"]}}
    results = [keypoint(50, 25), keypoint(10, 10, "car"), choice]
    label_studio(
        root,
        {"data": {"text": "old.jpg of x"} | A, "results": [results, []]},
        {"data": B, "results": [[]]},
        {"data": {"text": "no image"}, "results": []},
        annotations=annotations,
    )
    dots, problems = read("label_studio", root, labels=["head"])
    assert dots == {"a.jpg": [[WIDTH / 2, HEIGHT / 4]], "more/b.jpg": []}
    assert said(problems) == [
        ("export.json", "a.jpg was annotated 2 times"),
        ("export.json", "a task whose data name no image: text"),
    ]


def test_a_cancelled_annotation_does_not_count(root: Path) -> None:
    done = [{"result": [keypoint(9, 9)], "was_cancelled": True}, {"result": [keypoint(50, 50)]}]
    (root / "export.json").write_text(json.dumps([{"data": A, "annotations": done}]))
    assert read("label_studio", root)[0] == {"a.jpg": [[WIDTH / 2, HEIGHT / 2]]}


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (keypoint(1, 1, original_width=0), "result[1]: original_width: Input should be greater than 0"),
        (keypoint(1, 1, image_rotation=90), "result[1]: the image or the rectangle is rotated"),
        (keypoint(1, 1, type="rectanglelabels"), "1 rectanglelabels labelled 'head': not points"),
    ],
)
def test_a_person_of_label_studio_that_is_no_point_leaves_the_image_out(root: Path, result: dict, fault: str) -> None:
    label_studio(root, {"data": A, "results": [[keypoint(1, 1), result]]}, {"data": B, "results": [[]]})
    dots, problems = read("label_studio", root)
    assert dots == {"more/b.jpg": []}
    assert said(problems)[0][1].startswith(f"a.jpg cannot be used: {fault}")


def test_rectangles_of_label_studio_count_at_their_centres_if_asked(root: Path) -> None:
    value = {"x": 25, "y": 50, "width": 50, "height": 25, "rectanglelabels": ["head"]}
    label_studio(root, {"data": A, "results": [[keypoint(0, 0, type="rectanglelabels", value=value)]]})
    assert read("label_studio", root, dots="boxes")[0] == {"a.jpg": [[WIDTH / 2, HEIGHT * 5 / 8]]}


def test_labels_of_label_studio_may_stand_in_a_result_of_their_own(root: Path) -> None:
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    dots = [keypoint(50, 50, id=name, type="keypoint", value={"x": 50, "y": 50}) for name in ("r0", "r1")]
    labels = [{"id": name, "type": "labels", "value": {"labels": [name]}} | size for name in ("r0", "r1")]
    label_studio(root, {"data": A, "results": [[*dots, *labels]]}, {"data": B, "results": [[]]})
    assert read("label_studio", root)[0]["a.jpg"] == [[WIDTH / 2, HEIGHT / 2]] * 2
    assert read("label_studio", root, labels=["r1"]) == ({"a.jpg": [[WIDTH / 2, HEIGHT / 2]], "more/b.jpg": []}, [])


def test_json_min_of_label_studio_gives_what_the_full_export_gives(root: Path) -> None:
    shape = keypoint(50, 25)["value"] | {"original_width": WIDTH, "original_height": HEIGHT}
    (root / "min.json").write_text(json.dumps([A | {"id": 1, "kp": [shape]}, B | {"id": 2}]))
    assert read("label_studio", root) == ({"a.jpg": [[WIDTH / 2, HEIGHT / 4]], "more/b.jpg": []}, [])


def test_an_image_that_two_tasks_have_counts_once(root: Path) -> None:
    again = {"image": "/data/upload/13/ffffffff-a.jpg"}
    label_studio(root, {"data": A, "results": [[keypoint(50, 50)]]}, {"data": again, "results": [[keypoint(0, 0)] * 2]})
    dots, problems = read("label_studio", root)
    assert dots == {"a.jpg": [[WIDTH / 2, HEIGHT / 2]]}
    twice = "a.jpg is listed twice (1 dot as 'a.jpg' in export.json, 2 dots as 'a.jpg' in export.json)"
    assert (problems[0].what, problems[0].action) == (twice, "the first counts")


def test_a_task_of_several_images_gives_each_its_own_dots(root: Path) -> None:
    data = {"first": A["image"], "second": B["image"]}
    results = [keypoint(50, 50, to_name="first"), keypoint(0, 0, to_name="second"), keypoint(25, 0, to_name="second")]
    label_studio(root, {"data": data, "results": [results]})
    assert read("label_studio", root)[0] == {
        "a.jpg": [[WIDTH / 2, HEIGHT / 2]],
        "more/b.jpg": [[0, 0], [WIDTH / 4, 0]],
    }
    label_studio(root, {"data": data, "results": [[keypoint(50, 50, to_name="img")]]})
    dots, problems = read("label_studio", root)
    assert dots == {}
    assert [name.split()[0] for _, name in said(problems)] == ["a.jpg", "more/b.jpg"]
    assert "its task has 2 images" in problems[0].what


def test_pages_of_a_task_of_label_studio_are_told_by_their_number(root: Path) -> None:
    results = [keypoint(50, 50, to_name="page", item_index=1)]
    label_studio(root, {"data": {"pages": [A["image"], B["image"]]}, "results": [results]})
    assert read("label_studio", root)[0] == {"a.jpg": [], "more/b.jpg": [[WIDTH / 2, HEIGHT / 2]]}
