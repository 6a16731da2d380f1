"""VIA: what its files may hold besides plain dots, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from components.config import plugins
from tests.own_data import HEIGHT, WIDTH, read, said


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
