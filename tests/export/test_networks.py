"""Exported networks count what their runs count at sizes that were not traced, run by what runs such files.

Networks are narrow or short versions of the real ones, with random weights: tracing takes as long as they are deep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.config import plugins
from components.counters import csrnet, efficientnet_lite, sfcn
from components.counters.shared.spatial_encoder import SpatialEncoder
from components.errors import UserError
from components.export import onnx_file
from components.export.check import SIZES, Density
from components.export.export import export
from components.export.network import trace
from components.export.onnx_file import OnnxFile, save_onnx
from components.export.torch_program import TorchProgram, save_program
from components.runs.folder import Weights, read_weights
from components.runs.predictor import Predictor, load_predictor
from components.training.assemble import assemble
from tests import crowds

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra dotfield[export] is not installed")

OPTIONS = {  # of each counter that has pretrained weights; and a loss that does much to its counter's outputs
    "mcnn": {"loss": "zip"},
    "csrnet": {"weights": "random"},
    "sfcn": {"weights": "random"},
    "efficientnet_lite": {"weights": "random"},
}
AS_ONNX = ("efficientnet_lite", "sfcn")  # the most entangled sizes, and loops; mcnn is `normalised`; each takes seconds


def weights_of(folder: Path, loss: str = "squared_error", **counter: object) -> Weights:
    """Random weights, with which every cell counts something."""
    plan = crowds.plan(counter=counter, loss={"kind": loss})
    model = assemble(plan, 0)
    for name, each in model.counter.named_parameters():
        if name.startswith("encoder"):
            nn.init.normal_(each, std=0.03)
        elif name in ("output.bias", "fuse.bias"):
            nn.init.constant_(each, 0.5)
    record = {
        "preprocessing": {"longest_side": None},
        "stride": model.stride,
        "scale": model.scale,
        "objects": "people",
    }
    return Weights(folder, plan.plain() | record, model.state_dict())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block of each stage, and a narrow VGG."""
    short = tuple(stage._replace(blocks=1) for stage in efficientnet_lite.LITE0)
    monkeypatch.setattr(efficientnet_lite, "LITE0", short)
    for module in (csrnet, sfcn):
        monkeypatch.setattr(module, "FEATURES", (8, "pool", 8, "pool", 8, "pool", 512))
        monkeypatch.setattr(module, "BACK_END", (16, 64))


def assert_same(weights: Weights, density: Density) -> None:
    """On images of sizes that were not traced, a single pixel and less than a cell among them."""
    run, random = Predictor(weights), np.random.default_rng(1)
    for size in (*SIZES, (1, 1), (8, 200)):
        image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        ours, theirs = run.density(image), density(image)
        assert (theirs.shape, theirs.dtype) == (ours.shape, np.float32)
        assert np.abs(theirs - ours).sum() <= 1e-4 * np.abs(ours).sum()
        assert np.abs(ours).sum() > 0


@pytest.mark.parametrize("kind", plugins.kinds("counter"))
def test_a_network_counts_images_of_any_size(tmp_path: Path, small: None, kind: str) -> None:
    weights = weights_of(tmp_path, kind=kind, **OPTIONS.get(kind, {}))
    program = trace(weights, "uint8")
    save_program(tmp_path / "counter.pt2", program, weights.metadata)
    assert_same(weights, TorchProgram("uint8").open(tmp_path / "counter.pt2"))
    if kind in AS_ONNX:
        save_onnx(tmp_path / "counter.onnx", program, weights.metadata)
        assert_same(weights, OnnxFile("uint8").open(tmp_path / "counter.onnx"))


@pytest.mark.parametrize("shape", [(1, 64, 7, 11), (2, 64, 1, 3)])
def test_the_encoder_of_an_exported_sfcn_is_that_of_the_trained_one(shape: tuple[int, ...]) -> None:
    encoder, features = SpatialEncoder(), torch.randn(shape)
    with torch.no_grad():
        expected, exported = encoder(features), sfcn.exportable_encoder(encoder, features)
    torch.testing.assert_close(exported, expected, rtol=1e-5, atol=1e-5)
    assert (expected - features).abs().max() > 0.1


@pytest.fixture(scope="module")
def normalised(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as a network whose input is normalised as ImageNet's images are."""
    file = tmp_path_factory.mktemp("network") / "counter.onnx"
    export(run, file, inputs="imagenet")
    card = file.with_name("counter.onnx.md").read_text()
    assert "images (1, 3, H, W) float32, (RGB / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)" in card
    assert "counter.onnx --input imagenet\n" in card
    return file


def test_a_normalised_image_is_counted_as_its_pixels_are(run: Path, normalised: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (61, 94, 3), dtype=np.uint8)
    images = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    session = onnxruntime.InferenceSession(normalised)
    [people] = session.run(["people"], {"images": images.transpose(2, 0, 1)[None].astype(np.float32)})
    np.testing.assert_allclose(people[0, 0], load_predictor(run).density(pixels), rtol=1e-3, atol=1e-6)


def test_a_missing_package_is_named_before_anything_is_traced(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(UserError, match=r'counter\.onnx: needs no_such_package; pip install "dotfield\[export\]"'):
        export(run, tmp_path / "counter.onnx")
    assert [*tmp_path.iterdir()] == []


def test_the_file_says_what_it_takes_what_it_gives_and_what_it_is(run: Path, normalised: Path) -> None:
    session = onnxruntime.InferenceSession(normalised)
    [images], [people] = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(float)", [1, 3, "height", "width"])
    assert (people.name, people.type, people.shape) == ("people", "tensor(float)", [1, 1, "rows", "columns"])
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["dotfield"]) == read_weights(run / "best.safetensors").metadata
    assert [row["images"] for row in json.loads(properties["dotfield_card"])["results"]] == ["validation", "test"]


def test_room_to_breathe_counts_with_it(run: Path, normalised: Path) -> None:
    """The package roomtobreathe takes any density model of this form; frames are BGR."""
    density = pytest.importorskip("roomtobreathe.vision.density", reason="roomtobreathe or OpenCV is not installed")
    pixels = np.random.default_rng(2).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    model = density.load_estimator(str(normalised))
    model.input_width = None  # the frame's own, a multiple of 16
    counted = model.density_map(np.ascontiguousarray(pixels[..., ::-1]))
    assert counted.shape == (64, 96)
    assert counted.sum() == pytest.approx(load_predictor(run).count(pixels), rel=1e-4)
