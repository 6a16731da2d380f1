"""The formats of annotation tools, and images of dots: what each may hold besides plain dots, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.own_data import pictures, read, said


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pictures(tmp_path)


def coco(root: Path, annotations: list[object]) -> None:
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": "8", "file_name": "b.jpg"}],
        "categories": [{"id": 0, "name": "person", "keypoints": ["nose", "eye"]}, {"id": 2, "name": "dog"}],
        "annotations": annotations,
    }
    (root / "coco.json").write_text(json.dumps(content))


def test_coco_gives_one_dot_an_object(root: Path) -> None:
    person = {"image_id": 7, "category_id": 0}
    coco(
        root,
        [
            {"id": 1, "keypoints": [1, 2, 2, 3, 4, 1]} | person,
            {"id": 2, "keypoints": [0, 0, 0, 5, 6, 2]} | person,
            {"id": 3, "keypoints": [0, 0, 0, 0, 0, 0]} | person,
            {"id": 4, "keypoints": [9, 9, 2], "iscrowd": 1} | person,
            {"id": 5, "image_id": 9, "category_id": 0, "keypoints": [1, 1, 2]},
            {"id": 6, "keypoints": [1, 1, 2]},
            {"id": 7, "image_id": "8", "category_id": 2, "keypoints": [7, 8, 2]},
        ],
    )
    dots, problems = read("coco", root)
    assert dots == {"a.jpg": [[5, 6]], "more/b.jpg": [[7, 8]]}
    assert said(problems) == [
        ("coco.json: annotation 1", "has 2 labelled keypoints, not one: set `keypoint` to one of nose, eye"),
        ("coco.json: annotation 3", "has 0 labelled keypoints, not one"),
        ("coco.json: annotation 4", "marks a group (iscrowd), not one object"),
        ("coco.json: annotation 5", "image_id 9 is not in `images`"),
        ("coco.json: annotations[5]", "image_id: Field required"),
    ]
    assert read("coco", root, keypoint="nose", labels=["person"])[0] == {"a.jpg": [[1, 2]], "more/b.jpg": []}


def test_coco_s_boxes_count_at_their_centres(root: Path) -> None:
    coco(root, [{"image_id": 7, "bbox": [10, 20, 4, 6]}, {"id": 2, "image_id": 7, "keypoints": [1, 1, 2]}])
    dots, problems = read("coco", root, dots="boxes")
    assert dots == {"a.jpg": [[12, 23]], "more/b.jpg": []}
    assert said(problems) == [("coco.json: annotation 2", "has no bbox")]


def test_labelme_reads_points_and_says_what_is_none(root: Path) -> None:
    shapes = [
        {"label": "head", "shape_type": "point", "points": [[1, 2]]},
        {"label": "car", "shape_type": "point", "points": [[3, 4]]},
        {"label": "head", "shape_type": "circle", "points": [[3, 4], [5, 6]]},
        {"label": "head", "shape_type": "point", "points": [[3]]},
    ]
    (root / "a.json").write_text(json.dumps({"shapes": shapes}))
    (root / "more/b.json").write_text('{"shapes": []}')
    dots, problems = read("labelme", root, labels=["head"])
    assert dots == {"a": [[1, 2]], "more/b": []}
    assert said(problems) == [
        ("a.json", "a circle labelled 'head' is not a point"),
        ("a.json: shapes[3]", "points.0.1: Field required"),
    ]
    assert read("labelme", root)[0]["a"] == [[1, 2], [3, 4]]


CVAT = """<?xml version="1.0"?>
<annotations>
  <image id="0" name="a.jpg">
    <points label="head" points="1.5,2;3,4"/>
    <box label="head" xtl="1" ytl="2" xbr="3" ybr="4"/>
    <points label="head" points="1.5;2"/>
    <points label="car" points="9,9"/>
    <skeleton label="head"><points label="left" points="7,7"/></skeleton>
  </image>
  <image id="1" name="more/b.jpg"/>
</annotations>
"""


def test_cvat_reads_every_point_and_names_the_line_of_what_is_none(root: Path) -> None:
    (root / "annotations.xml").write_text(CVAT)
    dots, problems = read("cvat", root, labels=["head"])
    assert dots == {"a.jpg": [[1.5, 2], [3, 4]], "more/b.jpg": []}
    assert said(problems) == [
        ("annotations.xml:5", "a box labelled 'head' is not a point"),
        ("annotations.xml:6", "points='1.5;2' is not x,y;x,y"),
        ("annotations.xml:8", "a skeleton labelled 'head' is not a point"),
    ]
    assert read("cvat", root)[0]["a.jpg"] == [[1.5, 2], [3, 4], [9, 9]]


def test_cvat_s_file_with_entities_is_refused_before_they_expand(root: Path) -> None:
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    doctype = f'<!DOCTYPE annotations [<!ENTITY e0 "dots">{bomb}]>\n'
    (root / "annotations.xml").write_text(CVAT.replace("<annotations>", doctype + "<annotations>&e9;", 1))
    dots, problems = read("cvat", root)
    assert dots == {}
    assert said(problems) == [
        ("annotations.xml", "line 2: has a document type (<!DOCTYPE>), which is refused: delete it")
    ]


def test_an_encoding_that_does_not_exist_is_not_looked_up(root: Path) -> None:
    (root / "annotations.xml").write_text(CVAT.replace('version="1.0"', 'version="1.0" encoding="ut0-8"'))
    assert len(read("cvat", root)[0]) == 2


def test_a_cut_xml_gives_no_half_of_its_dots(root: Path) -> None:
    (root / "annotations.xml").write_text(CVAT[: CVAT.index("<image id=")] + '<image name="a.jpg">\n<points points="1,')
    dots, problems = read("cvat", root)
    assert dots == {}
    assert said(problems) == [("annotations.xml", "line 4: is not XML (unclosed token)")]


def test_label_studio_gives_pixels_and_the_first_annotation_that_counts(root: Path) -> None:
    def point(x: float, y: float, label: str = "head", **size: int) -> dict:
        size = {"original_width": 200, "original_height": 100} | size
        return {"type": "keypointlabels", "value": {"x": x, "y": y, "keypointlabels": [label]}} | size

    box = {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": {"x": 1, "y": 1}}
    choice = {"type": "choices", "value": {"choices": ["busy"]}}
    results = [point(50, 25), point(10, 10, "car"), box, choice, point(1, 1, original_width=0)]
    annotations = [{"result": [point(9, 9)], "was_cancelled": True}, {"result": results}, {"result": []}]
    tasks = [
        {"data": {"text": "x", "img": "/data/upload/12/0a1b2c3d-a.jpg"}, "annotations": annotations},
        {"data": {"image": "/data/local-files/?d=more%2Fb.jpg"}, "annotations": [{"result": []}]},
        {"data": {"text": "no image"}, "annotations": []},
    ]
    (root / "export.json").write_text(json.dumps(tasks))
    dots, problems = read("label_studio", root, labels=["head"])
    assert dots == {"a.jpg": [[100, 25]], "more/b.jpg": []}
    assert said(problems) == [
        ("export.json", "a.jpg was annotated 2 times"),
        ("export.json: a.jpg", "regions that are no keypoints: 1"),
        ("export.json: a.jpg[2]", "original_width: Input should be greater than 0"),
        ("export.json", "a task whose data name no image: text"),
    ]


def via_region(name: str, what: str = "head") -> dict:
    return {"shape_attributes": {"name": name, "cx": 3, "cy": 4}, "region_attributes": {"what": what}}


@pytest.mark.parametrize("project", [False, True])
def test_via_reads_both_versions_and_whole_projects(root: Path, project: bool) -> None:
    regions = {"0": via_region("point"), "1": via_region("circle"), "2": via_region("point", "car"), "3": {}}
    images = {"a.jpg99": {"filename": "a.jpg", "regions": regions}, "b": {"filename": "b.jpg", "regions": []}}
    (root / "via.json").write_text(json.dumps({"_via_img_metadata": images} if project else images))
    dots, problems = read("via", root, labels=["head"])
    assert dots == {"a.jpg": [[3, 4]], "more/b.jpg": []}
    assert said(problems) == [
        ("via.json: a.jpg[3]", "shape_attributes: Field required"),
        ("via.json: a.jpg", "a region of shape 'circle' is not a point"),
    ]


def test_via_s_csv_is_read_row_by_row(root: Path) -> None:
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    point = '"{""name"":""point"",""cx"":3,""cy"":4}","{""what"":""head""}"'
    rows = [f"a.jpg,1,{{}},2,0,{point}", "a.jpg,1,{},2,1,{,{}", 'b.jpg,1,{},0,0,"{}","{}"']
    (root / "via.csv").write_text("\n".join([head, *rows]))
    dots, problems = read("via", root)
    assert dots == {"a.jpg": [[3, 4]], "more/b.jpg": []}
    assert said(problems) == [("via.csv:3", "region_shape_attributes or region_attributes is not JSON")]


def marks(root: Path, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Path:
    Image.new("RGB", (8, 6)).save(root / "1cell.png")
    picture = Image.new("RGB", size)
    picture.putpixel((5, 2), (1, 0, 0))
    picture.putpixel((0, 0), (255, 9, 9))
    picture.putpixel((3, 3), (0, 255, 0))
    picture.convert(mode, palette=Image.Palette.ADAPTIVE).save(root / "1dots.png")
    return root


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_red_pixel_is_a_dot_in_its_middle(tmp_path: Path, mode: str) -> None:
    assert read("dot_png", marks(tmp_path, mode=mode)) == ({"1": [[0.5, 0.5], [5.5, 2.5]]}, [])


def test_dots_of_another_size_are_left_out_with_their_image(tmp_path: Path) -> None:
    dots, problems = read("dot_png", marks(tmp_path, size=(9, 6)))
    assert dots == {}
    assert said(problems) == [("1dots.png", "is not of the size of 1cell.png: save both in one size")]


@pytest.mark.real
def test_the_cells_are_read_whole(real: Path) -> None:
    dots, problems = read("dot_png", real / "cells")
    assert problems == []
    assert len(dots) == 200
    counts = {name: len(found) for name, found in dots.items()}
    assert (min(counts.values()), max(counts.values())) == (74, 317)
    for name in ("001", "100", "200"):
        red = Image.open(real / f"cells/{name}dots.png").getchannel("R").histogram()
        assert counts[name] == sum(red[1:])
        assert (np.array(dots[name]) <= 256).all()
