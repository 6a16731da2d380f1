"""`dotfield data check`: the report of a folder that nobody has described, and one line where nothing can be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from components import cli
from components.config.study import DatasetEntry
from components.data.manifest import Prepared
from components.data.prepare import prepare_dataset
from components.datasets.synthetic import scene
from components.errors import UserError
from tests.raw.tools import PARAMS, RAW, save_image


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Type `dotfield data check ...`: (exit code, standard output, standard error)."""

    def type_(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["dotfield", "data", "check", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capsys.readouterr())

    return type_


COUNTS = [len(scene(PARAMS, seed)[1]) for seed in (0, 1)]


def test_the_kind_is_guessed_and_the_counts_are_shown(check) -> None:
    code, out, err = check(RAW / "via")
    assert (code, err) == (0, "")
    assert f"| all | 2 | {sum(COUNTS)} |\n\n- In a study" in out
    assert f"| all | 2 | {sum(COUNTS)} | {min(COUNTS)} | {sum(COUNTS) / 2:.1f} | {max(COUNTS)} |" in out
    assert "No train/test split; the study makes one." in out
    assert "several sizes" not in out
    assert "No problem was found" in out


def test_images_of_several_sizes_need_a_crop_which_is_said_before_anything_is_prepared(check, tmp_path: Path) -> None:
    for name, size in (("a", (64, 48)), ("b", (48, 64))):
        Image.new("RGB", size, "grey").save(tmp_path / f"{name}.png")
    (tmp_path / "dots.csv").write_text("image,x,y\na.png,1,2\nb.png,3,4\n")
    code, out, _ = check(tmp_path)
    assert code == 0
    assert "Its images have several sizes: set `training.crop`" in out


def test_every_part_of_a_folder_is_reported_with_its_halves(check) -> None:
    code, out, _ = check(RAW / "shanghaitech")
    assert code == 0
    assert "part: A}" in out
    assert "part: B}" in out
    assert out.count("| train | 2 |") == 4  # kept and raw, of two parts
    assert out.count("| test | 2 |") == 2


def test_the_source_that_is_printed_can_be_put_into_a_study(check, tmp_path: Path) -> None:
    root = Path(shutil.copytree(RAW / "coco", tmp_path / "coco"))
    for number in (3, 4):
        save_image(root / f"shot_{number}.jpg", number)  # not listed: left out
    _, out, _ = check(root)
    source = yaml.safe_load(out.split("`source: ")[1].split("`")[0])
    entry = DatasetEntry.model_validate({"source": source, "split": {"val": 0.1, "test": 0.1}})
    with pytest.raises(UserError, match="no image is left for train of 2 usable images"):
        prepare_dataset(entry, "here", "Data set", tmp_path / "out")
    assert "## Problems (2)" in out


def test_a_data_set_with_problems_ends_well_and_names_them(check, tmp_path: Path) -> None:
    root = Path(shutil.copytree(RAW / "points", tmp_path / "points"))
    (root / "dots.csv").write_text("image,x,y\nshot_1.jpg,1,2\nshot_2.jpg,99,1\nshot_3.jpg,1,1\n,4,4\n")
    code, out, _ = check(root)
    assert code == 0
    assert "| all | 2 | 1 | 0 | 0.5 | 1 |" in out
    assert f"| {root}/dots.csv:5 | names no image | the row is dropped; correct it | record-invalid |" in out
    assert f"| {root}/shot_2.jpg | 1 dot outside the image of 64 x 48 px | dropped | dots-outside |" in out
    assert f"{root}/dots.csv:4 | there is no image 'shot_3.jpg'" in out


def test_copies_of_test_images_are_found_as_in_preparing(check, tmp_path: Path) -> None:
    root = Path(shutil.copytree(RAW / "ucf_qnrf", tmp_path / "raw"))
    for number, seed in ((3, 1), (4, 6), (5, 8)):  # number 3 is the test image once more
        save_image(root / f"Train/img_000{number}.jpg", seed)
        shutil.copy(root / "Test/img_0002_ann.mat", root / f"Train/img_000{number}_ann.mat")
    line = "| train-img_0003 | is a copy of test-img_0002 of test | dropped | copy-dropped |"
    assert line in check(root)[1]
    entry = DatasetEntry.model_validate({"source": {"kind": "ucf_qnrf", "root": str(root)}})
    prepare_dataset(entry, "here", "Data set", tmp_path / "out")
    assert line in (tmp_path / "out/report.md").read_text()
    assert len(Prepared(tmp_path / "out").rows) == 4


def test_options_go_before_what_is_guessed(check, tmp_path: Path) -> None:
    root = Path(shutil.copytree(RAW / "points", tmp_path / "points"))
    (root / "dots.csv").write_text("file;x;y\nshot_1.jpg;1;2\nshot_2.jpg;3;4\n")
    assert check(root)[0] == 2
    code, out, _ = check(root, "--kind", "points", "--option", "image=file", "--option", "delimiter=;")
    assert code == 0
    assert "| all | 2 | 2 | 1 | 1.0 | 1 |" in out
    code, out, _ = check(RAW / "ucf_cc_50", "--option", "fold=2")
    assert (code, "fold: 2}" in out) == (0, True)


def test_mistakes_are_one_line_and_exit_code_2(check, tmp_path: Path) -> None:
    nowhere, empty = tmp_path / "nowhere", tmp_path / "empty"
    empty.mkdir()
    both = Path(shutil.copytree(RAW / "points", tmp_path / "both"))
    shutil.copy(RAW / "cvat/annotations.xml", both)
    useless = Path(shutil.copytree(RAW / "cvat", tmp_path / "useless"))
    (useless / "annotations.xml").write_text("<annotations><image>")
    for words, said in (
        ([nowhere], f"{nowhere}: there is no such folder"),
        ([empty], f"{empty}: looks like no kind of data set: it holds no image; choose one with --kind: coco, cvat"),
        ([empty, "--kind", "mall"], f"{empty} is not Mall: looked for frames/seq_*.jpg"),
        ([both], f"{both}: may be cvat or points; choose one with --kind"),
        ([both, "--kind", "cvat", "--option", "label"], "--option label: write KEY=VALUE"),
        ([both, "--kind", "cvat", "--option", "label=head"], f"{both}: label: there is no such option; allowed: root"),
        ([useless], f"{useless}: no usable image among 2; first problem: {useless}/annotations.xml: line 1: an image"),
    ):
        code, out, err = check(*words)
        assert (code, out) == (2, "")
        assert err.startswith(f"dotfield: {said}")
        assert err.count("\n") == 1
    assert check(both, "--kind", "cvat")[0] == 0


def test_programs_get_raw_and_kept_counts_and_an_id_for_every_problem(check, tmp_path: Path) -> None:
    root = Path(shutil.copytree(RAW / "points", tmp_path / "points"))
    (root / "dots.csv").write_text("image,x,y\nshot_1.jpg,1,2\nshot_1.jpg,1,2\nshot_1.jpg,-3,1\n")
    code, out, _ = check(root, "--json")
    found = json.loads(out)
    (data_set,) = found["data_sets"]
    assert (code, found["schema"], found["path"]) == (0, 1, str(root))
    assert data_set["source"]["kind"] == "points"
    assert data_set["splits"]["all"]["raw"] == {"images": 2, "dots": 3}
    assert data_set["splits"]["all"]["kept"] == {"images": 1, "dots": 2, "fewest": 2, "mean": 2.0, "most": 2}
    problems = {each["id"]: (each["file"], each["lost"]) for each in data_set["problems"]}
    assert problems["dots-outside"] == (str(root / "shot_1.jpg"), True)
    assert problems["dots-coincide"] == (str(root / "shot_1.jpg"), False)
    assert data_set["lost"] is True
    assert all({"id", "file", "what", "action"} <= each.keys() for each in data_set["problems"])


def test_strict_ends_with_1_only_where_something_is_lost(check, tmp_path: Path) -> None:
    root = Path(shutil.copytree(RAW / "points", tmp_path / "points"))
    rows = "image,x,y\nshot_1.jpg,1,2\nshot_1.jpg,1,2\nshot_2.jpg,3,4\n"  # two people in one place: kept
    (root / "dots.csv").write_text(rows)
    code, out, _ = check(root, "--strict")
    assert (code, "## Problems (1)" in out) == (0, True)
    (root / "dots.csv").write_text(rows + "shot_2.jpg,64.5,4\n")
    assert check(root)[0] == 0
    code, out, err = check(root, "--strict")
    assert (code, "## Problems (2)" in out, err) == (1, True, "")


def test_a_folder_of_pictures_alone_is_said_to_be_unlabelled(check, tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.JPG", "JPEG")
    code, _, err = check(tmp_path)
    assert code == 2
    assert "is unlabelled: it holds 3 images and nothing that says where people are; label them first" in err
    (tmp_path / "notes.txt").write_text("rainy")
    assert "nothing in its files (.txt) names its 3 images" in check(tmp_path)[2]
