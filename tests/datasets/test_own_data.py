"""The formats of annotation tools: what each may hold besides plain dots, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from components.config import plugins
from tests.own_data import HEIGHT, WIDTH, pictures, read, said


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


def test_coco_gives_one_dot_an_object_and_leaves_out_what_it_cannot_read(root: Path) -> None:
    person = {"image_id": 7, "category_id": "0"}
    good = [
        {"id": 2, "keypoints": [0, 0, 0, 5, 6, 2], "bbox": []} | person,
        {"id": 3, "keypoints": None, "iscrowd": None} | person,
        {"id": 5, "image_id": 9, "category_id": 0, "keypoints": [1, 1, 2]},
        {"id": 6, "keypoints": [1, 1, 2]},
        {"id": 7, "image_id": 8, "category_id": 2, "keypoints": [7, 8, 2]},
    ]
    coco(root, good)
    dots, problems = read("coco", root)
    assert dots == {"a.jpg": [[5, 6]], "more/b.jpg": [[7, 8]]}
    assert said(problems) == [
        ("coco.json: annotation 3", "has no labelled keypoint"),
        ("coco.json: annotation 5", "image_id 9 is not in `images`"),
        ("coco.json: annotations[3]", "image_id: Field required"),
    ]
    coco(root, [*good, {"id": 1, "keypoints": [1, 2, 2, 3, 4, 1]} | person, {"id": 4, "iscrowd": 1} | person])
    dots, problems = read("coco", root)
    assert dots == {"more/b.jpg": [[7, 8]]}
    several = "annotation 1 has 2 labelled keypoints, not one: set `keypoint` to one of nose, eye"
    fault = f"a.jpg cannot be used: {several}; annotation 4 marks a group (iscrowd), not one object"
    assert said(problems)[-1] == ("coco.json", fault)
    coco(root, [{"id": 1, "keypoints": [1, 2, 2, 3, 4, 1]} | person])
    assert read("coco", root, keypoint="nose", labels=["person"])[0] == {"a.jpg": [[1, 2]], "more/b.jpg": []}


def test_coco_s_boxes_count_at_their_centres(root: Path) -> None:
    boxes = [{"image_id": 7, "bbox": [10, 20, 4, 6]}, {"id": 2, "image_id": "8", "keypoints": [1, 1, 2]}]
    coco(root, boxes)
    dots, problems = read("coco", root, dots="boxes")
    assert dots == {"a.jpg": [[12, 23]]}
    assert said(problems) == [
        ("coco.json: annotation 2", "has no bbox"),
        ("coco.json", "more/b.jpg cannot be used: has 1 objects and no dot"),
    ]
    coco(root, [boxes[0], {"id": 3, "image_id": 7, "bbox": []}])
    assert "a.jpg" not in read("coco", root, dots="boxes")[0]


def test_an_id_of_coco_that_stands_for_two_images_is_no_sum(root: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": "1", "file_name": "b.jpg"}]
    annotations = [{"image_id": 1, "keypoints": [1, 1, 2]}, {"image_id": 1, "keypoints": [2, 2, 2]}]
    (root / "coco.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    dots, problems = read("coco", root)
    assert dots == {}
    fault = "cannot be used: the id 1 stands for 'a.jpg' and 'b.jpg'"
    assert said(problems) == [("coco.json", f"a.jpg {fault}"), ("coco.json", f"more/b.jpg {fault}")]


def labelme(file: Path, *shapes: tuple[object, str | None, list], **fields: object) -> None:
    found = [{"label": label, "shape_type": kind, "points": points} for label, kind, points in shapes]
    file.write_text(json.dumps({"shapes": found} | fields))


def test_labelme_reads_points_and_leaves_out_what_is_none(root: Path) -> None:
    labelme(
        root / "a.json",
        ("head", "point", [[1, 2]]),
        (5, "points", [[3, 4], [5, 6]]),
        (None, None, [[7, 8]]),
        ("head", "point", []),
        ("zone", "polygon", [[0, 0], [9, 0], [9, 9]]),
    )
    labelme(root / "more/b.json")
    dots, problems = read("labelme", root)
    assert dots == {"a": [[1, 2], [3, 4], [5, 6], [7, 8]], "more/b": []}
    assert said(problems) == [
        ("a.json", "shapes without points: 1"),
        ("a.json", "a.jpg: 1 polygon labelled 'zone': not points"),
    ]
    assert read("labelme", root, labels=["5"])[0] == {"a": [[3, 4], [5, 6]], "more/b": []}


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        (("head", "circle", [[3, 4], [5, 6]]), "1 circle labelled 'head': not points; mark people with points"),
        (("head", "point", [[3]]), "shapes[1]: points.0.1: Field required"),
        (("head", "point", [[3, float("nan")]]), "shapes[1]: is no place in an image"),
    ],
)
def test_a_person_of_labelme_that_is_no_point_leaves_the_image_out(root: Path, shape: tuple, fault: str) -> None:
    labelme(root / "a.json", ("head", "point", [[1, 2]]), shape)
    labelme(root / "more/b.json")
    dots, problems = read("labelme", root)
    assert dots == {"more/b": []}
    assert said(problems)[0][1].startswith(f"a.jpg cannot be used: {fault}")


def test_rectangles_of_labelme_count_at_their_centres_if_asked(root: Path) -> None:
    labelme(root / "a.json", ("head", "rectangle", [[10, 20], [4, 30]]), ("head", "point", [[1, 1]]))
    labelme(root / "more/b.json", ("head", "rectangle", [[0, 0], [4, 4]]))
    assert read("labelme", root)[0] == {}
    assert read("labelme", root, dots="boxes") == ({"a": [[7, 25], [1, 1]], "more/b": [[2, 2]]}, [])


def test_of_two_images_of_one_name_the_one_counts_that_labelme_names(root: Path) -> None:
    Image.new("RGB", (8, 6)).save(root / "a.png")
    labelme(root / "more/b.json")
    labelme(root / "a.json", ("head", "point", [[1, 2]]), imagePath="C:\\shots\\a.JPG")
    dots, problems = read("labelme", root)
    assert dots == {"a": [[1, 2]], "more/b": []}
    assert said(problems) == [("a.png", "has no .json with its dots")]
    labelme(root / "a.json", ("head", "point", [[1, 2]]))
    dots, problems = read("labelme", root)
    assert dots == {"more/b": []}
    assert said(problems)[0] == ("a.json", f"'a' may be a.jpg or a.png: write its path from {root}")


def test_dots_are_scaled_to_the_image_as_it_is_and_both_sizes_said(root: Path) -> None:
    labelme(root / "a.json", ("head", "point", [[10, 20]]), imageWidth=2 * WIDTH, imageHeight=2 * HEIGHT)
    labelme(root / "more/b.json", ("head", "point", [[10, 20]]), imageWidth=WIDTH, imageHeight=2 * HEIGHT)
    dots, problems = read("labelme", root)
    assert dots == {"a": [[5, 10]]}
    assert said(problems) == [
        ("a.json", "a.jpg was annotated at 128 x 96 px and has 64 x 48 px"),
        ("b.json", "more/b.jpg was annotated at 64 x 96 px and has 64 x 48 px: annotate the image as it is"),
    ]


def test_the_size_of_an_image_is_that_of_the_turned_one(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter when shown
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "a.jpg", exif=exif)
    labelme(root / "more/b.json")
    labelme(root / "a.json", ("head", "point", [[10, 60]]), imageWidth=HEIGHT, imageHeight=WIDTH)
    assert read("labelme", root) == ({"a": [[10, 60]], "more/b": []}, [])


def test_a_label_that_nothing_has_is_said_with_those_that_there_are(root: Path) -> None:
    labelme(root / "a.json", ("Head ", "point", [[1, 2]]), ("car", "point", [[3, 4]]))
    labelme(root / "more/b.json")
    dots, problems = read("labelme", root, labels=["head"])
    assert dots == {}
    what = "nothing has what `labels` names: 'head'; there are: 'Head ', 'car'"
    assert said(problems) == [("a.json", f"{what}: set `labels` to some of these")]
    dots, problems = read("labelme", root, labels=["head", "car"])
    assert dots == {"a": [[3, 4]], "more/b": []}
    assert said(problems) == [("a.json", what)]


CVAT = """<?xml version="1.0"?>
<annotations>
  <image id="0" name="a.jpg">
    <points label="head" points="1.5,2;3,4"/>
    <points label="head" points="9,9" outside="1"/>
    <points label="car" points="9,9"/>
    <skeleton label="person"><points label="left" points="7,7"/></skeleton>
  </image>
  <image id="1" name="more/b.jpg"/>
</annotations>
"""


def test_cvat_reads_every_point_and_names_the_line_of_what_is_none(root: Path) -> None:
    (root / "annotations.xml").write_text(CVAT)
    dots, problems = read("cvat", root)
    assert dots == {"a.jpg": [[1.5, 2], [3, 4], [9, 9]], "more/b.jpg": []}
    assert said(problems) == [
        ("annotations.xml:5", "a.jpg: a point labelled 'head' is marked as outside"),
        ("annotations.xml:3", "a.jpg: 1 skeleton (line 7) labelled 'person': not points"),
    ]
    assert read("cvat", root, labels=["head"])[0]["a.jpg"] == [[1.5, 2], [3, 4]]
    assert read("cvat", root, labels=["left"])[0]["a.jpg"] == [[7, 7]]


def test_a_person_of_cvat_that_is_no_point_leaves_the_image_out(root: Path) -> None:
    box = '<box label="head" xtl="1" ytl="2" xbr="3" ybr="8"/>'
    (root / "annotations.xml").write_text(CVAT.replace("<skeleton", f"{box}<skeleton"))
    dots, problems = read("cvat", root)
    assert dots == {"more/b.jpg": []}
    assert said(problems)[-1][1].startswith("a.jpg cannot be used: 1 box (line 7) labelled 'head': not points; mark")
    dots, _ = read("cvat", root, dots="boxes", labels=["head"])
    assert dots["a.jpg"] == [[1.5, 2], [3, 4], [2, 5]]
    (root / "annotations.xml").write_text(CVAT.replace("1.5,2;3,4", "1.5;2"))
    assert said(read("cvat", root)[1])[-1][1] == "a.jpg cannot be used: line 4: points='1.5;2' is not x,y;x,y"


def test_an_image_that_cvat_lists_twice_is_no_sum(root: Path) -> None:
    again = '<image id="7" name="a.jpg"><points label="head" points="1,1"/></image></annotations>'
    (root / "annotations.xml").write_text(CVAT.replace("</annotations>", again))
    dots, problems = read("cvat", root)
    assert dots == {"more/b.jpg": []}
    twice = "3 dots as 'a.jpg' in annotations.xml:3, 1 dot as 'a.jpg' in annotations.xml:10"
    assert said(problems)[-1] == ("annotations.xml:3", f"a.jpg is listed twice ({twice}): keep one of them")


def test_frames_of_a_video_are_found_without_their_suffix(root: Path) -> None:
    (root / "annotations.xml").write_text(CVAT.replace("a.jpg", "a").replace("more/b.jpg", "b"))
    assert [*read("cvat", root)[0]] == ["a.jpg", "more/b.jpg"]


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


def via_region(name: str, what: object = "head") -> dict:
    shape = {"name": name, "cx": 3, "cy": 4, "x": 10, "y": 20, "width": 4, "height": 6}
    return {"shape_attributes": shape, "region_attributes": {"what": what}}


@pytest.mark.parametrize("project", [False, True])
def test_via_reads_versions_1_and_2_and_whole_projects(root: Path, project: bool) -> None:
    regions = {"0": via_region("point"), "1": via_region("point", "car"), "2": via_region("polygon", "zone")}
    images = {"a.jpg99": {"filename": "a.jpg", "regions": regions}, "b": {"filename": "b.jpg", "regions": []}}
    (root / "via.json").write_text(json.dumps({"_via_img_metadata": images} if project else images))
    dots, problems = read("via", root)
    assert dots == {"a.jpg": [[3, 4], [3, 4]], "more/b.jpg": []}
    assert said(problems) == [("via.json", "a.jpg: 1 polygon labelled 'zone': not points")]
    assert read("via", root, labels=["head"])[0] == {"a.jpg": [[3, 4]], "more/b.jpg": []}


def test_labels_of_via_may_be_checkboxes(root: Path) -> None:
    regions = [via_region("point", {"head": True, "hat": False}), via_region("point", {"hat": True})]
    (root / "via.json").write_text(json.dumps({"a": {"filename": "a.jpg", "regions": regions}}))
    assert read("via", root, labels=["hat"])[0] == {"a.jpg": [[3, 4]]}


def test_rectangles_of_via_count_at_their_centres_and_one_file_may_list_one_image(root: Path) -> None:
    for folder in ("", "more"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / folder / "001.jpg")
        image = {"filename": "001.jpg", "regions": [via_region("rect")] * (2 if folder else 1)}
        (root / folder / "001.json").write_text(json.dumps({"001.jpg9": image}))
    dots, problems = read("via", root, annotations=str(root))
    assert dots == {}
    assert "001.jpg cannot be used: 1 rect labelled 'head': not points; mark" in problems[1].what
    dots, problems = read("via", root, annotations=str(root), dots="boxes")
    assert dots == {"001.jpg": [[12, 23]], "more/001.jpg": [[12, 23]] * 2}
    assert [file for file, _ in said(problems)] == ["a.jpg", "b.jpg"]


def test_many_files_of_one_image_each_are_one_data_set_with_a_short_report(tmp_path: Path) -> None:
    for number in range(30):
        Image.new("RGB", (8, 6)).save(tmp_path / f"{number}.jpg")
        image = {"filename": f"{number}.jpg", "regions": [via_region("rect")]}
        (tmp_path / f"{number}.json").write_text(json.dumps({"x": image}))
    (found,) = plugins.recognise(tmp_path)
    assert (found.kind, found.options) == ("via", {"dots": "boxes"})
    dots, problems = read("via", tmp_path, **found.options)
    assert (len(dots), problems) == (30, [])


def test_a_project_of_via_3_is_read(root: Path) -> None:
    project = {
        "attribute": {"1": {"aname": "what", "options": {"0": "head", "1": "car"}}},
        "file": {"4": {"fname": "a.jpg"}, "5": {"fname": "more/b.jpg"}},
        "view": {"1": {"fid_list": ["4"]}, "2": {"fid_list": [5]}},
        "metadata": {
            "1_x": {"vid": "1", "xy": [1, 10, 20], "av": {"1": "0"}},
            "1_y": {"vid": "1", "xy": [1, 30, 40], "av": {"1": "1"}},
            "2_z": {"vid": 2, "xy": [2, 10, 20, 4, 6], "av": {"1": "0"}},
        },
    }
    (root / "project.json").write_text(json.dumps(project))
    assert read("via", root, labels=["head"])[0] == {"a.jpg": [[10, 20]]}
    assert read("via", root, dots="boxes") == ({"a.jpg": [[10, 20], [30, 40]], "more/b.jpg": [[12, 23]]}, [])
    assert [found.kind for found in plugins.recognise(root)] == ["via"]


HEAD = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
POINT = '"{""name"":""point"",""cx"":3,""cy"":4}","{""what"":""head""}"'


@pytest.mark.parametrize("head", [HEAD, f"#{HEAD}"])
def test_via_s_csv_is_read_image_by_image(root: Path, head: str) -> None:
    rows = [f"a.jpg,1,{{}},2,0,{POINT}", f"a.jpg,1,{{}},2,1,{POINT}", 'b.jpg,1,{},0,0,"{}","{}"']
    (root / "via.csv").write_text("\n".join([head, *rows]))
    assert read("via", root) == ({"a.jpg": [[3, 4], [3, 4]], "more/b.jpg": []}, [])


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([f"a.jpg,1,{{}},2,0,{POINT}", "a.jpg,1,{},2,1,{,{}"], "cannot be used: line 3: region_shape_attributes or"),
        ([f"a.jpg,1,{{}},1,0,{POINT}"] * 2, "cannot be used: its rows (2) are not as many as `region_count` says (1)"),
        ([f"a.jpg,1,{{}},1,0,{POINT}", f"a.jpg,2,{{}},1,0,{POINT}"], "is listed twice (1 dot as 'a.jpg' in via.csv:2"),
    ],
)
def test_an_image_whose_rows_do_not_fit_is_left_out(root: Path, rows: list[str], fault: str) -> None:
    (root / "via.csv").write_text("\n".join([HEAD, *rows, 'b.jpg,1,{},0,0,"{}","{}"']))
    dots, problems = read("via", root)
    assert dots == {"more/b.jpg": []}
    assert said(problems)[0][1].startswith(f"a.jpg {fault}")


def test_a_key_of_json_that_stands_twice_loses_nothing_silently(root: Path) -> None:
    image = json.dumps({"filename": "a.jpg", "regions": []})
    (root / "via.json").write_text(f'{{"a.jpg9": {image}, "a.jpg9": {image}}}')
    what = "the key 'a.jpg9' stands twice in one object: files were merged; keep one of them"
    assert said(read("via", root)[1]) == [("via.json", what)]


@pytest.mark.parametrize("written", ["A.JPG", "https://host/x/a.jpg?sig=b%2F", "yard\\a.jpg", "/home/me/yard/a.jpg"])
def test_names_that_differ_as_tools_write_them_are_found(root: Path, written: str) -> None:
    coco(root, [])
    content = {"images": [{"id": 1, "file_name": written}], "annotations": [{"image_id": 1, "keypoints": [1, 2, 2]}]}
    (root / "coco.json").write_text(json.dumps(content))
    assert read("coco", root)[0] == {"a.jpg": [[1, 2]]}


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


def test_an_image_of_labelme_whose_shapes_are_all_empty_does_not_show_nobody(root: Path) -> None:
    labelme(root / "a.json", ("head", "point", []))
    labelme(root / "more/b.json")
    dots, problems = read("labelme", root)
    assert dots == {"more/b": []}
    assert said(problems)[1] == ("a.json", "a.jpg cannot be used: none of its shapes has a point")
