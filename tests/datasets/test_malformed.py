"""Files of dots that are whole but hold something else than expected: a problem that names the file, no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from components.datasets.shared.mat import as_dots, as_number
from components.datasets.worldexpo import CORNERS, read_roi
from components.errors import UserError
from tests.own_data import read, said

OBJECTS = np.array([np.zeros((2, 2)), "here"], object)


@pytest.mark.parametrize("values", [[[1, 2], [3]], [["x", "y"]], [[1j, 2]], [{"x": 1}], OBJECTS, [[10**400, 1]]])
def test_what_is_no_table_of_numbers_is_refused(values: Any) -> None:
    with pytest.raises(UserError, match="points is not a table of numbers"):
        as_dots(values, "points")


@pytest.mark.parametrize("values", [[1, 2], [[1, 2, 3]], [[[1, 2]]], 5])
def test_a_table_without_two_columns_is_refused(values: Any) -> None:
    with pytest.raises(UserError, match=r"points has shape \(.*\), not \(N, 2\)"):
        as_dots(values, "points")


@pytest.mark.parametrize("values", [[], [1, 2], ["two"], [np.nan], [np.inf], OBJECTS[:1], OBJECTS])
def test_what_is_not_one_number_is_refused(values: Any) -> None:
    with pytest.raises(UserError, match="count is not one number"):
        as_number(np.array(values), "count")


@pytest.mark.parametrize("points", [csc_matrix(np.eye(2)), OBJECTS, np.ones((2, 2, 2)), {"a": 1.0}, "text"])
@pytest.mark.parametrize("kind", ["ucf_qnrf", "ucf_cc_50"])
def test_a_mat_whose_points_are_something_else_leaves_its_image_out(
    copy: Callable[[str], Path], kind: str, points: Any
) -> None:
    root = copy(kind)
    file, options = ("Train/img_0001_ann.mat", {}) if kind == "ucf_qnrf" else ("2_ann.mat", {"fold": 1})
    savemat(root / file, {"annPoints": points})
    dots, problems = read(kind, root, **options)
    assert len(dots) == 1
    assert [(problem.file, problem.action) for problem in problems] == [(str(root / file), "the image is left out")]


@pytest.mark.parametrize("number", ["two", np.inf, np.zeros(0), np.zeros(2)])
def test_a_count_of_shanghaitech_that_is_no_number_leaves_its_image_out(
    copy: Callable[[str], Path], number: Any
) -> None:
    root = copy("shanghaitech")
    truth = root / "part_A/train_data/ground-truth/GT_IMG_2.mat"
    record = np.empty((1, 1), dtype=[("location", "O"), ("number", "O")])
    record[0, 0] = (np.ones((2, 2)), number)
    cell = np.empty((1, 1), object)
    cell[0, 0] = record
    savemat(truth, {"image_info": cell})
    dots, problems = read("shanghaitech", root, part="A")
    assert "train-IMG_2" not in dots
    assert [(problem.file, problem.what) for problem in problems] == [(str(truth), "number is not one number")]


@pytest.mark.parametrize("count", ["two", np.nan, np.inf])
def test_a_count_of_mall_that_is_no_number_leaves_its_frame_out(copy: Callable[[str], Path], count: Any) -> None:
    root = copy("mall")
    frames = loadmat(root / "mall_gt.mat")["frame"]
    counts = np.array([[count], [len(frames[0, 1]["loc"][0, 0])]], object)
    savemat(root / "mall_gt.mat", {"frame": frames, "count": counts})
    dots, problems = read("mall", root)
    assert [*dots] == ["seq_000002"]
    assert said(problems) == [("mall_gt.mat", "frame 1: count[0] is not one number")]


@pytest.mark.parametrize("frames", [csc_matrix(np.eye(2)), np.ones((1, 2)), "ab"])
def test_frames_of_mall_of_another_structure_are_left_out(copy: Callable[[str], Path], frames: Any) -> None:
    root = copy("mall")
    savemat(root / "mall_gt.mat", {"frame": frames, "count": np.ones((2, 1))})
    dots, problems = read("mall", root)
    assert dots == {}
    assert {problem.file for problem in problems} == {str(root / "mall_gt.mat")}


@pytest.mark.parametrize(
    ("roi", "weights"),
    [(np.ones((48, 64)), np.ones((48, 64))), ({"mask": np.ones((48, 64))}, "text"), ("a", "b")],
)
def test_a_scene_of_mall_of_another_structure_leaves_all_frames_out(
    copy: Callable[[str], Path], roi: Any, weights: Any
) -> None:
    root = copy("mall")
    savemat(root / "perspective_roi.mat", {"roi": roi, "pMapN": weights})
    dots, problems = read("mall", root)
    assert dots == {}
    assert [problem.file for problem in problems] == [str(root / "perspective_roi.mat")]


@pytest.mark.parametrize(
    ("x", "y", "what"),
    [
        ([0, 9, 9], [0, 0], "has 3 x and 2 y coordinates of corners"),
        ([0, 9], [0, 9], "the polygon has 2 corners, not three or more"),
        ([0, 9, np.nan], [0, 0, 9], "the polygon has a corner that is no place in an image"),
        ([0, 9, 1e20], [0, 0, 9], "the polygon has a corner that is no place in an image"),
        (["a", "b", "c"], [0, 0, 9], "the polygon is not a table of numbers"),
        (csc_matrix(np.eye(3)), [0, 0, 9], "maskVerticesXCoordinates must be a full array"),
    ],
)
def test_a_polygon_of_worldexpo_that_is_none_names_its_file(tmp_path: Path, x: Any, y: Any, what: str) -> None:
    savemat(tmp_path / "roi.mat", dict(zip(CORNERS, (x, y), strict=True)))
    with pytest.raises(UserError, match=rf"{tmp_path}/roi\.mat: {what}"):
        read_roi(tmp_path / "roi.mat", (10, 10))


@pytest.mark.parametrize("number", ["two", np.inf, np.zeros(2)])
def test_a_count_of_worldexpo_that_is_no_number_leaves_its_frame_out(copy: Callable[[str], Path], number: Any) -> None:
    root = copy("worldexpo")
    truth = root / "train_label/100156/100156_C09-00.mat"
    savemat(truth, {"point_position": np.ones((2, 2)), "point_num": number})
    dots, problems = read("worldexpo", root)
    assert [*dots] == ["test-104207_C09-01"]
    assert said(problems) == [(truth.name, "point_num is not one number")]


@pytest.mark.parametrize("line", ["a b 1 1 1 0", "1 2", "1 2 3 4 5 6 7", "1,2,3,4,5,6"])
def test_a_line_of_jhu_that_is_no_head_leaves_its_image_out(copy: Callable[[str], Path], line: str) -> None:
    root = copy("jhu")
    (root / "train/gt/0001.txt").write_text(f"1 2 3 4 1 0\n{line}\n")
    dots, problems = read("jhu", root)
    assert [*dots] == ["val-0002"]
    assert problems[0].what.startswith("line 2: ")


@pytest.mark.parametrize("points", [[[1, 2], [3]], [["a", "b"]], {"x": 1}, [[1, 2, 3]], [[[1, 2]]], None, [1, 2]])
def test_points_of_nwpu_of_another_shape_leave_their_image_out(copy: Callable[[str], Path], points: Any) -> None:
    root = copy("nwpu")
    (root / "jsons/0001.json").write_text(json.dumps({"points": points}))
    dots, problems = read("nwpu", root)
    assert [*dots] == ["test-3110"]
    assert [problem.file for problem in problems] == [str(root / "jsons/0001.json")]


NESTED = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize("content", [NESTED, "null", "5", '"text"', '{"images": 1, "annotations": 2, "shapes": 3}'])
@pytest.mark.parametrize("kind", ["coco", "label_studio", "via", "labelme"])
def test_json_of_another_structure_is_a_problem_of_its_file(root: Path, kind: str, content: str) -> None:
    (root / "a.json").write_text(content)
    dots, problems = read(kind, root)
    assert dots == {}
    assert problems[0].file.startswith(str(root / "a.json"))


HUGE = 10**400  # an integer that JSON may hold and no float does


@pytest.mark.parametrize("values", [[HUGE, 1, 2], ["x", 1, 2], [[1, 2, 2]], {"x": 1}])
def test_keypoints_of_coco_that_are_no_numbers_are_a_problem(root: Path, values: Any) -> None:
    annotation = {"id": 1, "image_id": 1, "keypoints": values}
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [annotation]}
    (root / "coco.json").write_text(json.dumps(content))
    dots, problems = read("coco", root)
    assert dots == {}
    assert problems[0].what.startswith("a.jpg cannot be used: annotation 1 has keypoints that are no list of numbers")


@pytest.mark.parametrize(
    "change", [{"original_width": HUGE}, {"original_width": "wide"}, {"value": {"x": [1], "y": 2}}]
)
def test_a_keypoint_of_label_studio_that_is_no_place_is_a_problem(root: Path, change: dict[str, Any]) -> None:
    point = {"type": "keypoint", "original_width": 10, "original_height": 10, "value": {"x": 1, "y": 2}} | change
    (root / "a.json").write_text(json.dumps([{"data": {"image": "a.jpg"}, "annotations": [{"result": [point]}]}]))
    dots, problems = read("label_studio", root)
    assert dots == {}
    assert problems[0].what.startswith("a.jpg cannot be used: result[0]: ")


def test_an_address_of_label_studio_that_is_none_names_no_image(root: Path) -> None:
    (root / "a.json").write_text(json.dumps([{"data": {"image": "http://[1/a.jpg"}, "annotations": []}]))
    assert said(read("label_studio", root)[1])[0] == ("a.json", "a task whose data name no image: image")


@pytest.mark.parametrize("regions", [[1], ["x"], [{"shape_attributes": []}], [{"shape_attributes": {"cx": "left"}}]])
def test_a_region_of_via_that_is_none_is_a_problem(root: Path, regions: list[Any]) -> None:
    (root / "via.json").write_text(json.dumps({"a": {"filename": "a.jpg", "regions": regions}}))
    dots, problems = read("via", root)
    assert dots == {}
    assert problems[0].what.startswith("a.jpg cannot be used: region 0: ")


def test_columns_of_a_parquet_file_that_are_called_alike_or_have_no_python_type_are_said(root: Path) -> None:
    name, number = pa.array(["a.jpg"]), pa.array([1.0])
    pq.write_table(pa.table([name, number, number, number], ["image", "x", "y", "x"]), root / "dots.parquet")
    assert said(read("points", root)[1])[0] == (
        "dots.parquet",
        "has several columns called 'x': rename all but one",
    )
    year = pa.array([2**62], pa.timestamp("us"))  # far beyond those that Python's dates have
    pq.write_table(pa.table([name, year, number], ["image", "x", "y"]), root / "dots.parquet")
    assert said(read("points", root)[1])[0][1].startswith("its columns image, x, y cannot be read (")


def test_a_folder_called_like_a_file_of_dots_is_none(root: Path) -> None:
    (root / "a.json").mkdir()
    with pytest.raises(UserError, match=rf"{root}: has no .json file with dots"):
        read("coco", root)


@pytest.mark.parametrize("nesting", ["struct", "location"])
def test_a_mat_that_python_wrote_for_shanghaitech_is_read(copy: Callable[[str], Path], nesting: str) -> None:
    root = copy("shanghaitech")
    record = {"location": np.array([[1, 2], [3, 4], [5, 6]]), "number": 3}
    truth = root / "part_A/train_data/ground-truth/GT_IMG_2.mat"
    savemat(truth, {"image_info": record} if nesting == "struct" else record)
    dots, problems = read("shanghaitech", root, part="A")
    assert dots["train-IMG_2"] == [[1, 2], [3, 4], [5, 6]]
    assert problems == []


@pytest.mark.parametrize(
    ("kind", "image", "sample", "options"),
    [
        ("shanghaitech", "part_A/train_data/images/IMG_2", "train-IMG_2", {"part": "A"}),
        ("ucf_qnrf", "Train/img_0001", "train-img_0001", {}),
        ("jhu", "train/images/0001", "train-0001", {}),
        ("nwpu", "images/0001", "train-0001", {}),
        ("worldexpo", "train_frame/100156_C09-00", "train-100156_C09-00", {}),
    ],
)
def test_two_images_of_one_name_leave_it_out(
    copy: Callable[[str], Path], kind: str, image: str, sample: str, options: dict[str, Any]
) -> None:
    root = copy(kind)
    assert sample in read(kind, root, **options)[0]
    (root / f"{image}.png").write_bytes((root / f"{image}.jpg").read_bytes())
    dots, problems = read(kind, root, **options)
    assert sample not in dots
    assert said(problems) == [(f"{Path(image).name}.jpg", f"has the name of {Path(image).name}.png")]


def test_names_in_a_list_of_nwpu_that_nobody_has_are_said(copy: Callable[[str], Path]) -> None:
    root = copy("nwpu")
    (root / "train.txt").write_text("﻿0001 1 2\n0777 1 2\n", encoding="utf-8")
    dots, problems = read("nwpu", root)
    assert [*dots] == ["train-0001", "test-3110"]
    assert said(problems) == [("nwpu", "1 images of the lists are not there, nor their dots: train-0777")]


def test_heads_of_jhu_with_a_byte_order_mark_are_read(copy: Callable[[str], Path]) -> None:
    root = copy("jhu")
    (root / "train/gt/0001.txt").write_text("﻿1 2 3 4 1 0\n", encoding="utf-8")
    assert read("jhu", root)[0]["train-0001"] == [[1, 2]]


@pytest.mark.parametrize("result", [{}, 5, None, {"type": "keypoint", "id": [1]}])
def test_a_result_of_label_studio_that_is_none_leaves_its_image_out(root: Path, result: Any) -> None:
    tasks = [{"data": {"image": "a.jpg"}, "annotations": [{"result": [result]}]}]
    for content in (tasks, [{"image": "a.jpg", "kp": [[1], {"x": 1}]}]):
        (root / "a.json").write_text(json.dumps(content))
        assert read("label_studio", root)[0] == {}


def test_a_number_is_a_label_too(root: Path) -> None:
    shapes = [{"label": label, "shape_type": "point", "points": [[label, 1]]} for label in (1, 2)]
    (root / "a.json").write_text(json.dumps({"shapes": shapes}))
    assert read("labelme", root, labels=[2])[0] == {"a": [[2, 1]]}
