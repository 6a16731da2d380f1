"""Counting with the weights of a trained run: nothing but its weights file is needed, and nothing is guessed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from textwrap import shorten

import numpy as np
import torch
from PIL import Image

from components.config import plugins
from components.config.options import Choice
from components.crowd import Counter, CountingLoss, cell_count
from components.data.decode import preprocess, scaled_size
from components.errors import UserError
from components.networks import autocast, one_thread
from components.runs.folder import Weights, damaged, read_weights
from components.workspace.layout import RunPaths

RELEASED = Path(__file__).parent / "released" / "counter.safetensors"  # of params/released: see its card
TILE, MARGIN = 2048, 416  # pixels; whole cells of every stride. The margin covers what a cell of EfficientNet-Lite sees
WHOLE = TILE + 2 * MARGIN  # pixels: no side of an image that is counted at once is longer
NEEDED = ("counter", "loss", "scale", "stride", "preprocessing")  # keys of the metadata
MESSAGE_LENGTH = 300  # characters of what PyTorch says of weights that do not fit


class Predictor:
    """A trained counter with its own preprocessing. `metadata` is what its weights file says of it.

    It counts with one thread, and so the same to the bit wherever it is called; several pictures are counted at once by
    threads of `components/counting`.

    `longest_side`: pictures are scaled down to it; None: not at all. It is that of the training images, but may be set
    to another one, where people would become too small to count. `bf16`: whether the counter's convolutions are
    computed in bfloat16, which is faster on a processor that multiplies in it; counts then hold two to three digits."""

    def __init__(self, weights: Weights) -> None:
        _check_metadata(weights)
        self.file, self.metadata = weights.file, weights.metadata
        self.longest_side: int | None = self.metadata["preprocessing"].get("longest_side")
        self.bf16 = False
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        counter, self._loss = build_networks(weights)
        self._counter = counter.to(self.device).eval()

    @property
    def stride(self) -> int:
        """Pixels of the preprocessed image: the side of a cell."""
        return self._counter.stride

    def cell_size(self, size: tuple[int, int]) -> tuple[float, float]:
        """The (width, height) of a cell in pixels of an upright image of `size` (width, height) as it came."""
        (width, height), _ = scaled_size(size, self.longest_side)
        return self.stride * size[0] / width, self.stride * size[1] / height

    def density(
        self, image: Path | str | np.ndarray, *, flip: bool = False, scales: Sequence[float] = (1.0,)
    ) -> np.ndarray:
        """The people (or other objects) in each cell of an image: (ceil(H / stride), ceil(W / stride)) float32.

        `image` is a file, or (H, W, 3) uint8 RGB. H and W are those of the preprocessed image: turned as its EXIF
        orientation says, and scaled down as the training images were. The result is the mean of the predictions for the
        image resized by each of `scales`, and with `flip` also for its mirror image at each. Raises UserError: it
        cannot be decoded."""
        pixels = preprocess(Path(image) if isinstance(image, str) else image, self.longest_side)
        predictions = [
            self._at_scale(pixels, scale, mirrored) for scale in scales for mirrored in (False, True)[: 1 + flip]
        ]
        density: np.ndarray = np.stack(predictions).mean(axis=0)
        return density

    def count(self, image: Path | str | np.ndarray, *, flip: bool = False, scales: Sequence[float] = (1.0,)) -> float:
        """How many people (or other objects) an image shows. Takes and raises what `density` does."""
        return float(self.density(image, flip=flip, scales=scales).sum(dtype=np.float64))

    def _at_scale(self, pixels: np.ndarray, scale: float, mirrored: bool) -> np.ndarray:
        """The prediction for an image (H, W, 3) uint8 that was resized and perhaps mirrored, on the grid of the image
        as it is."""
        height, width = pixels.shape[:2]
        size = (max(1, round(scale * height)), max(1, round(scale * width)))
        resized = pixels
        if size != (height, width):
            resized = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
        if mirrored:  # the cells of the mirror image are those of the image only if they fill its width
            resized = np.pad(resized, [(0, 0), (0, -size[1] % self.stride), (0, 0)], mode="edge")[:, ::-1]
        density = self._predict(resized)
        density = density[:, ::-1] if mirrored else density
        return density if size == (height, width) else resample(density, size, (height, width), self.stride)

    def _predict(self, pixels: np.ndarray) -> np.ndarray:
        """The cells of an image (H, W, 3) uint8: at once, or of a large one tile by tile, each cell from one tile."""
        height, width = pixels.shape[:2]
        if max(height, width) <= WHOLE:
            return self._predict_tile(pixels)
        density = np.empty((cell_count(height, self.stride), cell_count(width, self.stride)), np.float32)
        for top, left in product(range(0, height, TILE), range(0, width, TILE)):
            above, before = min(top, MARGIN), min(left, MARGIN)  # pixels around the tile that its cells see too
            seen = pixels[top - above : top + TILE + MARGIN, left - before : left + TILE + MARGIN]
            cells = self._predict_tile(seen)[above // self.stride :, before // self.stride :]
            place = density[top // self.stride :, left // self.stride :][: TILE // self.stride, : TILE // self.stride]
            place[:] = cells[: place.shape[0], : place.shape[1]]
        return density

    def _predict_tile(self, pixels: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))[None].to(self.device)
        with torch.inference_mode(), one_thread():
            with autocast(self.bf16, self.device):
                outputs = self._counter(batch / 255)
            people = self._loss.people(outputs.float()) / self.metadata["scale"]
        density: np.ndarray = people[0, 0].cpu().numpy()
        return density


def load_predictor(path: Path | str | None = None) -> Predictor:
    """The counter of a weights file, or of a run's folder (its best epoch); without a path, the released one.

    Raises UserError: see `read_weights` and `check_finite`."""
    path = RELEASED if path is None else Path(path)
    weights = read_weights(RunPaths(path).best if path.is_dir() else path)
    check_finite(weights)
    return Predictor(weights)


def resample(density: np.ndarray, size: tuple[int, int], target: tuple[int, int], stride: int) -> np.ndarray:
    """A density map of an image of `size` (H, W) on the grid of the same image at the size `target`, with the same sum.

    Cells are `stride` pixels wide in both. The people of a cell are divided among those that it overlaps, by area."""
    rows, columns = (_overlaps(before, after, stride) for before, after in zip(size, target, strict=True))
    resampled: np.ndarray = (rows @ density.astype(np.float64) @ columns.T).astype(np.float32)
    return resampled


def _overlaps(before: int, after: int, stride: int) -> np.ndarray:
    """The share of each cell along an axis of `before` pixels that lies in each cell of one of `after` pixels:
    (ceil(after / stride), ceil(before / stride)); its columns sum to 1."""
    old = np.minimum(np.arange(cell_count(before, stride) + 1) * stride, before) * (after / before)
    new = np.minimum(np.arange(cell_count(after, stride) + 1) * stride, after)
    shared = np.minimum(old[1:], new[1:, None]) - np.maximum(old[:-1], new[:-1, None])
    shares: np.ndarray = np.maximum(shared, 0) / np.diff(old)
    return shares


def _check_metadata(weights: Weights) -> None:
    """Raises UserError where the metadata lack what is needed to count, or have something else in its place."""
    metadata = weights.metadata
    if lacking := [key for key in NEEDED if key not in metadata]:
        raise damaged(weights.file, f"its metadata lack {', '.join(lacking)}")
    for name in ("counter", "loss", "preprocessing"):
        if not isinstance(metadata[name], dict) or (name != "preprocessing" and "kind" not in metadata[name]):
            raise damaged(weights.file, f"its {name} is {metadata[name]!r}")
    numbers = {"scale": metadata["scale"], "stride": metadata["stride"]}
    if (side := metadata["preprocessing"].get("longest_side")) is not None:
        numbers["longest_side"] = side
    for name, value in numbers.items():
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise damaged(weights.file, f"its {name} is {value!r}")


def check_finite(weights: Weights) -> None:
    """Raises UserError where weights hold NaN or infinite numbers: every count would be NaN."""
    odd = [name for name, tensor in weights.tensors.items() if not torch.isfinite(tensor).all()]
    if odd:
        raise UserError(
            f"{weights.file}: holds numbers that are NaN or infinite ({', '.join(odd[:3])}); train it again"
        )


def build_networks(weights: Weights) -> tuple[Counter, CountingLoss]:
    """The counter with its weights, and the loss, which knows how the counter's outputs become people.

    Raises UserError where the weights or the stride are not those of the counter."""
    metadata = weights.metadata
    choice, trained_with = (Choice.model_validate(metadata[family]) for family in ("counter", "loss"))
    options = plugins.resolve("loss", trained_with, f"{weights.file}: loss")
    loss: CountingLoss = plugins.build(
        "loss", trained_with.kind, options, stride=metadata["stride"], scale=metadata["scale"]
    )
    options = plugins.resolve("counter", choice, f"{weights.file}: counter")
    built = plugins.build("counter", choice.kind, options, channels=loss.channels)
    counter: Counter = built.to(memory_format=torch.channels_last)
    try:
        counter.load_state_dict(weights.of("counter"))
    except RuntimeError as error:
        why = shorten(str(error), MESSAGE_LENGTH, placeholder=" ...")
        raise UserError(f"{weights.file}: does not fit the counter {choice.kind} of this version ({why})") from None
    if counter.stride != metadata["stride"]:
        raise damaged(weights.file, f"its stride is {metadata['stride']}, and that of its counter {counter.stride}")
    return counter, loss
