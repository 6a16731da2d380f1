"""`dotfield new`: a whole study from what raw data is like."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from components.config.load import load_study
from components.config.options import Choice
from components.crowd import Problem
from components.data.inspect import Inspected, inspect, sources
from components.data.proposal import Measured, measure, propose, study_yaml
from components.errors import UserError
from components.publish import published
from components.training.check import find_mistakes
from tests.raw.tools import RAW

STREET = Measured({"train": 400, "test": 316}, 1024, 768, 1024, 16.0, 9, 123, 578, False, 1)


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch, typed, tmp_path: Path):
    """Type `dotfield new ...` in an empty project: (exit code, standard output, standard error)."""
    (tmp_path / "project/params").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return partial(typed, "new")


def own_pictures(folder: Path, images: int) -> Path:
    """Images of 64 x 96 px, each another, with two dots 10 px apart."""
    folder.mkdir(parents=True)
    rows = ["image,x,y"]
    for number in range(images):
        pixels = np.random.default_rng(number).integers(0, 256, (96, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows += [f"{number}.png,20,30", f"{number}.png,26,38"]
    (folder / "dots.csv").write_text("\n".join(rows))
    return folder


def test_what_was_chosen_for_shanghaitech_b_is_proposed_for_what_is_like_it() -> None:
    chosen = propose(STREET)
    assert (chosen.longest_side, chosen.crop, chosen.batch_size, chosen.share) == (512, (256, 384), 4, 0.1)
    assert (chosen.training, chosen.epochs) == (360, 17)
    assert chosen.sigma == 2.5  # 0.3 * 8 px, in halves


def test_a_dense_crowd_keeps_its_resolution_and_small_images_are_not_scaled() -> None:
    assert propose(STREET._replace(longest=4000, apart=20)).longest_side == 2048
    assert propose(STREET._replace(longest=4000, apart=64)).longest_side == 512
    assert propose(STREET._replace(longest=1000, apart=4)).longest_side is None
    assert propose(STREET._replace(width=300, height=200, longest=300)).crop == (128, 224)
    assert propose(STREET._replace(width=768, height=1024)).crop == (384, 256)


def test_few_images_are_seen_more_often_and_bandwidths_stay_in_bounds() -> None:
    assert propose(STREET._replace(images={"train": 20})).epochs == 100
    assert propose(STREET._replace(images={"train": 40_000, "val": 10, "test": 10})).epochs == 8
    assert [propose(STREET._replace(apart=apart)).sigma for apart in (1, None, 900)] == [2, 4, 16]


def test_data_from_which_nothing_can_be_learned_is_refused() -> None:
    with pytest.raises(UserError, match="no image has a dot"):
        propose(STREET._replace(most=0))
    with pytest.raises(UserError, match="only 3 images can be divided into train, val and test"):
        propose(STREET._replace(images={"train": 3}))


def test_data_is_measured_in_raw_pixels(tmp_path: Path) -> None:
    folder = own_pictures(tmp_path / "own", 5)
    data = measure(inspect(sources(folder, None, {})[0], str(folder)))
    assert (data.images, data.width, data.height, data.longest) == ({"train": 5}, 64, 96, 96)
    assert (data.apart, data.fewest, data.mean, data.most) == (10, 2, 2, 2)


def test_the_study_of_own_pictures_has_no_mistake(new, tmp_path: Path) -> None:
    folder = own_pictures(tmp_path / "own", 8)
    code, out, err = new("my-street", folder)
    assert (code, err) == (0, "")
    assert out.startswith("params/my-street/study.yaml\n")
    file = Path("params/my-street/study.yaml")
    study = load_study(file)
    rows = published.rows()
    assert find_mistakes(study, str(file), {row.key for row in rows}, {row.section for row in rows}) == []
    assert list(study.experiments) == ["fixed", "mixture", "generated"]
    assert study.experiments["generated"].counter.kind == "efficientnet_lite"
    assert study.datasets["pictures"].source.options["root"] == str(folder)
    assert study.maps["fixed"].kernel.options == {"sigma": 3}
    assert (study.training.epochs, study.training.crop) == (100, (64, 64))
    said = file.read_text()
    assert "8 images without halves, typically 64 x 96 raw pixels; 2 to 2 dots an image" in said
    assert max(len(line) for line in said.splitlines() if line.lstrip().startswith("#")) <= 140


def test_a_study_is_never_overwritten(new, tmp_path: Path) -> None:
    folder = own_pictures(tmp_path / "own", 8)
    Path("params/mine").mkdir()
    Path("params/mine/study.yaml").write_text("study: mine\n")
    code, _, err = new("mine", folder)
    assert (code, err) == (2, "dotfield: params/mine/study.yaml exists: choose another name, or remove it first\n")
    assert Path("params/mine/study.yaml").read_text() == "study: mine\n"


def test_halves_and_perspective_of_a_data_set_are_used() -> None:
    def row(split: str, people: int) -> dict:
        places = list(np.arange(people) * 40.0)
        return {
            "split": split,
            "width": 640,
            "height": 480,
            "x": places,
            "y": places,
            "perspective": places,
            "scene": "",
        }

    source = Choice.model_validate({"kind": "mall", "root": "data/mall"})
    rows = [row("train", 3)] * 30 + [row("test", 5)] * 10
    problem = Problem("a.jpg", "1 dot outside", "dropped", "dots-outside")
    found = Inspected(source, rows, {}, [problem], True)
    data = measure(found)
    values = yaml.safe_load(said := study_yaml("mall", found, data, propose(data)))
    assert values["datasets"]["pictures"]["split"] == {"val": 0.2, "seed": 0}
    assert values["maps"]["perspective"]["kernel"] == {"kind": "perspective"}
    assert list(values["experiments"]) == ["fixed", "perspective", "mixture", "generated"]
    assert "# Found: 30 train images, 10 test images, typically 640 x 480 raw pixels; 3 to 5 dots an image" in said
    assert "# Images or dots were lost for 1 reason: " in said


def test_several_data_sets_need_a_choice_and_names_are_checked(new, tmp_path: Path) -> None:
    code, _, err = new("st", RAW / "shanghaitech")
    assert (code, "holds several data sets; choose one with --option" in err) == (2, True)
    code, _, err = new("st", RAW / "shanghaitech", "--option", "part=A")
    assert (code, "only 2 images can be divided" in err) == (2, True)
    code, _, err = new("My Study", tmp_path)
    assert (code, "cannot be the name of a study" in err) == (2, True)
    assert not Path("params/st").exists()
