"""The gate on real weights files, with errors that are known without counting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.config.study import DatasetEntry
from components.data.prepare import prepare_dataset
from components.errors import UserError
from components.gate.held_out import measure
from components.gate.judge import judge
from components.gate.policy import HeldOut, Policy
from components.gate.verdict import Verdict
from components.runs.folder import read_weights, write_weights
from components.runs.predictor import load_predictor
from components.runs.registry import Registry
from tests.gate.conftest import CELLS, HEIGHT, WIDTH, Constant, photograph, policy

SIX = {f"camera-{number}": (10, 12) for number in range(6)}  # MAE of a counter that always says 13 is 2, of 15 is 4


def verdicts(verdict: Verdict) -> dict[str, str]:
    return {check.id: check.verdict for check in verdict.checks}


def value(verdict: Verdict, id: str) -> float | None:
    return next(check.value for check in verdict.checks if check.id == id)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return photograph(tmp_path / "held-out", SIX)


def test_a_better_counter_is_a_go(root: Path, constant: Constant) -> None:
    verdict = judge(constant(13), constant(15), policy(root))
    assert verdict.outcome == "GO"
    assert value(verdict, "mae:better") == pytest.approx(-2, abs=1e-4)
    assert value(verdict, "mae:bound") == pytest.approx(-2, abs=1e-4)  # in every picture: no camera changes it
    assert verdict.metrics["mae"] == pytest.approx(2, abs=1e-4)
    assert verdict.metrics["mae_bounds"] == pytest.approx([2, 2], abs=1e-4)
    assert verdict.metrics["current_mae"] == pytest.approx(4, abs=1e-4)
    assert (verdict.metrics["images"], verdict.metrics["cameras"]) == (12, 6)
    assert value(verdict, "bias") == pytest.approx(13 / 11 - 1, abs=1e-5)
    assert verdicts(verdict)["bias"] == "pass"  # 18 % too many, but the counter in use sees 36 % too many
    assert verdicts(verdict)["density:1 to 50"] == "pass"
    assert verdicts(verdict)["density:nobody"] == verdicts(verdict)["empty"] == "missing"
    assert verdicts(verdict)["camera:camera-3"] == "insufficient"


def test_game_is_that_of_histograms_of_the_dots(root: Path, constant: Constant) -> None:
    """Of 4 x 4 regions, each has a sixteenth of a constant density."""
    table = [line.split(",") for line in (root / "dots.csv").read_text().splitlines()[1:]]
    edges = np.linspace(0, HEIGHT, 5), np.linspace(0, WIDTH, 5)
    difference = []
    for name in dict.fromkeys(line[0] for line in table):
        x, y = np.array([line[1:] for line in table if line[0] == name], float).T
        people = np.histogram2d(y, x, edges)[0]
        difference.append(np.abs(people - 13 / 16).sum() - np.abs(people - 15 / 16).sum())
    verdict = judge(constant(13), constant(15), policy(root))
    assert value(verdict, "game:2") == pytest.approx(np.mean(difference), abs=1e-3)


def test_a_counter_that_is_no_better_is_a_no_go(root: Path, constant: Constant) -> None:
    verdict = judge(constant(15), constant(13), policy(root))
    assert verdict.outcome == "NO-GO"
    assert verdicts(verdict)["mae:better"] == verdicts(verdict)["mae:bound"] == "fail"
    assert judge(constant(13), constant(13), policy(root)).outcome == "NO-GO"  # not better


def test_a_mean_that_hangs_on_one_camera_is_a_no_go(tmp_path: Path, constant: Constant) -> None:
    """Better by 12 in one camera's pictures, worse by 2 in those of the five others."""
    cameras = {f"c{number}": (15, 15) for number in range(5)} | {"odd": (60, 60)}
    verdict = judge(constant(22), constant(10), policy(photograph(tmp_path / "odd", cameras)))
    assert value(verdict, "mae:better") == pytest.approx((5 * 2 - 12) / 6, abs=1e-3)
    assert verdicts(verdict)["mae:better"] == "pass"
    assert value(verdict, "mae:bound") == pytest.approx(2, abs=1e-3)  # (5/6)^6, a third of the draws, are without it
    assert (verdicts(verdict)["mae:bound"], verdict.outcome) == ("fail", "NO-GO")


def test_few_pictures_are_no_ground_for_an_answer(tmp_path: Path, constant: Constant) -> None:
    root = photograph(tmp_path / "few", {"a": (10, 12), "b": (10, 12)})
    verdict = judge(constant(13), constant(15), policy(root))
    assert (verdict.outcome, verdicts(verdict)["mae"]) == ("INCONCLUSIVE", "insufficient")
    assert "mae: 4 held-out images; at least 10 are needed" in verdict.reasons()
    assert judge(constant(15), None, policy(root)).outcome == "INCONCLUSIVE"


def test_without_held_out_pictures_only_sanity_is_known(constant: Constant) -> None:
    verdict = judge(constant(13), constant(15), policy(None))
    assert (verdict.outcome, verdicts(verdict)["mae"], verdict.held_out) == ("INCONCLUSIVE", "missing", None)
    assert verdicts(verdict)["flip"] == "pass"


def test_the_first_counter_is_measured_by_itself(root: Path, constant: Constant) -> None:
    """MAE 2 for 11 people in a picture is 18 %."""
    go = judge(constant(13), None, policy(root, accuracy={"first": 0.19}))
    assert (go.outcome, verdicts(go)["bias"]) == ("GO", "fail")  # a warning: there is nothing to compare with
    refused = judge(constant(13), None, policy(root, accuracy={"first": 0.17}))
    assert (refused.outcome, verdicts(refused)["mae:first"]) == ("NO-GO", "fail")


def test_weights_that_are_not_numbers_are_a_no_go(root: Path, constant: Constant) -> None:
    verdict = judge(constant(float("nan")), constant(15), policy(root))
    assert verdict.outcome == "NO-GO"
    assert verdicts(verdict)["finite"] == verdicts(verdict)["mae:better"] == verdicts(verdict)["mae:bound"] == "fail"
    assert json.loads(json.dumps(verdict.as_json(), allow_nan=False))["metrics"]["mae"] is None


def test_people_below_zero_and_people_that_come_with_size_are_no_go(root: Path, constant: Constant) -> None:
    """A map of constant density loses a fifth of its people with 10 % of each side."""
    negative = judge(constant(-5), None, policy(root))
    assert verdicts(negative)["negative"] == "fail"
    resized = judge(constant(13), None, policy(root, sanity={"resize": 0.15}))
    assert verdicts(resized)["resize"] == "fail"
    assert value(resized, "resize") == pytest.approx(14 * 18 / CELLS - 1, abs=1e-4)  # 53 x 70 px
    assert verdicts(judge(constant(13), constant(15), policy(root, sanity={"resize": 0.15})))["resize"] == "pass"


def test_supporting_checks_block_only_as_the_policy_says(tmp_path: Path, constant: Constant) -> None:
    """Better by 5 where there are people, worse by 5 where there is nobody."""
    root = photograph(tmp_path / "empty", {f"c{number}": (40, 40, 40, 0, 0) for number in range(5)})
    open_ = policy(root, supporting={"blocking": []})
    worse = judge(constant(20), constant(15), policy(root, supporting={"blocking": ["density"], "empty": 100}))
    assert (worse.outcome, verdicts(worse)["density:nobody"]) == ("NO-GO", "fail")  # 5 more of 15: a third
    assert value(worse, "density:nobody") == pytest.approx(5, abs=1e-3)
    assert [reason.partition(": 1")[0] for reason in worse.reasons()] == ["density:nobody"]
    assert judge(constant(20), constant(15), open_).outcome == "GO"
    assert value(worse, "empty") == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize("shown", [1, 4, 30])
def test_the_pictures_of_the_sanity_checks_are_spread_over_the_held_out_half(
    tmp_path: Path, constant: Constant, shown: int
) -> None:
    """23 held-out pictures among 43."""
    root = photograph(tmp_path / "halves", {"train": (5,) * 20, "test": (5,) * 23})
    source = {"kind": "points", "root": str(root), "halves": {"train": "train", "test": "test"}}
    held_out = HeldOut.model_validate({"source": source, "half": "test"})
    measured = measure(held_out, load_predictor(constant(5)), None, shown, "policy")
    pictures = [np.asarray(Image.open(file)) for file in sorted((root / "test").iterdir())]
    places = {n for n, picture in enumerate(pictures) for each in measured.shown if np.array_equal(picture, each)}
    assert len(places) == min(shown, 23)
    assert all(places & {*part} for part in np.array_split(range(23), max(shown // 2, 1)) if len(part))


def test_a_camera_that_gets_worse_is_named(tmp_path: Path, constant: Constant) -> None:
    root = photograph(tmp_path / "cameras", {"far": (40,) * 12, "near": (10,) * 10})
    verdict = judge(constant(30), constant(20), policy(root))
    assert verdicts(verdict)["camera:far"] == "pass"
    assert value(verdict, "camera:far") == pytest.approx(-10, abs=1e-3)
    assert (verdicts(verdict)["camera:near"], verdict.outcome) == ("fail", "NO-GO")
    words = next(check.words for check in verdict.checks if check.id == "mae:bound")
    assert "over the images of 2 cameras: it says nothing of others" in words


def test_held_out_pictures_among_the_training_images_are_a_no_go(tmp_path: Path, constant: Constant) -> None:
    """One picture is the same file, another was saved anew as JPEG."""
    root, halves = photograph(tmp_path / "held-out", SIX), {"t": (9,) * 12, "v": (9,), "u": (9,)}
    training = photograph(tmp_path / "training", halves, seed=5)
    (training / "t/3.png").write_bytes((root / "camera-1/1.png").read_bytes())
    Image.open(root / "camera-2/0.png").save(training / "t/5.jpg", quality=75)
    (training / "t/5.png").unlink()
    (training / "dots.csv").write_text((training / "dots.csv").read_text().replace("t/5.png", "t/5.jpg"))
    source = {"kind": "points", "root": str(training), "annotations": f"{training}/dots.csv"}
    entry = DatasetEntry.model_validate({"source": source | {"halves": {"train": "t", "val": "v", "test": "u"}}})
    prepare_dataset(entry, "test", "training", tmp_path / "prepared")
    leaks = {"data": str(tmp_path / "prepared"), "required": True}
    verdict = judge(constant(13), constant(15), policy(root, leaks=leaks))
    (check,) = (check for check in verdict.checks if check.id == "leaks")
    assert (verdict.outcome, check.verdict) == ("NO-GO", "fail")
    assert check.words == "2 of 13 training images are held out: t/3.png, t/5.jpg"
    weights = read_weights(constant(13))
    weights.metadata["provenance"] = {"manifest_sha256": "of other data"}
    made_anew = tmp_path / "made-anew.safetensors"
    write_weights(made_anew, weights.tensors, weights.metadata)
    assert verdicts(judge(made_anew, None, policy(root, leaks=leaks)))["leaks"] == "missing"
    others = photograph(tmp_path / "others", SIX, seed=9)
    assert judge(constant(13), constant(15), policy(others, leaks=leaks)).outcome == "GO"


def test_training_images_that_are_not_here_leave_it_open(root: Path, constant: Constant, monkeypatch) -> None:
    monkeypatch.chdir(root)
    verdict = judge(constant(13), constant(15), policy(root, leaks={"required": True}))
    assert (verdict.outcome, verdicts(verdict)["leaks"]) == ("INCONCLUSIVE", "missing")


def test_every_answer_is_counted_and_too_many_are_said(root: Path, constant: Constant, tmp_path: Path) -> None:
    registry, options = Registry(str(tmp_path / "registry")), policy(root, supporting={"questions": 1})
    first, second = (judge(constant(13), constant(15), options, registry) for _ in range(2))
    assert (value(first, "questions"), value(second, "questions")) == (1, 2)
    assert (verdicts(first)["questions"], verdicts(second)["questions"]) == ("pass", "fail")
    assert second.outcome == "GO"  # a warning
    registry.record(second.as_json())
    assert registry.history()[0].decision == json.loads(json.dumps(second.as_json()))
    other = policy(photograph(tmp_path / "other", SIX, seed=4), supporting={"questions": 1})
    assert value(judge(constant(13), constant(15), other, registry), "questions") == 1


def test_counts_of_recent_pictures_are_compared(root: Path, constant: Constant, tmp_path: Path) -> None:
    recent = tmp_path / "recent"
    recent.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(recent / f"{number}.png")
    (recent / "odd.png").write_bytes(b"odd")
    options = policy(root, supporting={"recent": str(recent), "disagreement": 0.1})
    verdict = judge(constant(13), constant(15), options)
    assert value(verdict, "disagreement") == pytest.approx(2 / 15, abs=1e-5)
    assert (verdicts(verdict)["disagreement"], verdict.outcome) == ("fail", "GO")


def test_a_held_out_set_that_was_changed_is_refused(root: Path, constant: Constant) -> None:
    frozen = judge(constant(13), constant(15), policy(root)).held_out
    assert judge(constant(13), constant(15), policy(root, held_out={"sha256": frozen})).held_out == frozen
    with (root / "dots.csv").open("a") as file:
        file.write("camera-0/0.png,1,1\n")
    with pytest.raises(UserError, match=r"gate\.yaml: held_out\.sha256: these are other images or dots"):
        judge(constant(13), constant(15), policy(root, held_out={"sha256": frozen}))


def test_a_held_out_half_alone_may_be_used(tmp_path: Path, constant: Constant) -> None:
    root = photograph(tmp_path / "halves", {"train": (10,) * 10, "test": (12,) * 10})
    source = {
        "kind": "points",
        "root": str(root),
        "annotations": f"{root}/dots.csv",
        "halves": {"train": "train", "test": "test"},
    }
    options = policy(None).model_dump() | {"held_out": {"source": source, "half": "test"}}
    verdict = judge(constant(13), constant(15), Policy.model_validate(options))
    assert verdict.metrics["images"] == 10
    assert verdict.metrics["mae"] == pytest.approx(1, abs=1e-4)
    options["held_out"]["half"] = "val"
    with pytest.raises(UserError, match=r"gate\.yaml: held_out: has no usable image of the half val"):
        judge(constant(13), constant(15), Policy.model_validate(options))


def test_pictures_are_scaled_as_each_counter_wants_them(root: Path, constant: Constant, tmp_path: Path) -> None:
    """A counter of pictures of 32 px sees a quarter of the cells."""
    weights = read_weights(constant(48))
    small = weights.metadata | {"preprocessing": weights.metadata["preprocessing"] | {"longest_side": 32}}
    write_weights(tmp_path / "small.safetensors", weights.tensors, small)
    verdict = judge(tmp_path / "small.safetensors", constant(15), policy(root))
    assert verdict.metrics["mae"] == pytest.approx(np.mean([2, 0]), abs=1e-4)
    assert np.isfinite(value(verdict, "game:2"))
