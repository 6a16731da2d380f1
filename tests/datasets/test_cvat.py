"""CVAT: what its files may hold besides plain dots, and what is left out."""

from __future__ import annotations

from pathlib import Path

from tests.own_data import read, said

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
    assert problems[-1].id == "image-listed-twice"


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
