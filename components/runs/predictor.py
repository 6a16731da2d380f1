"""Counting with the weights of a trained run: nothing but its weights file is needed, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.config import plugins
from components.config.options import Choice
from components.crowd import Counter
from components.data.decode import preprocess
from components.errors import UserError
from components.runs.folder import Weights, read_weights
from components.workspace.layout import RunPaths


class Predictor:
    """A trained counter with its own preprocessing. `metadata` is what its weights file says of it."""

    def __init__(self, weights: Weights) -> None:
        self.metadata: dict[str, Any] = weights.metadata
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._counter = _counter(weights).to(self.device).eval()

    @property
    def stride(self) -> int:
        """Pixels of the preprocessed image: the side of a cell."""
        return self._counter.stride

    def density(self, image: Path | str | np.ndarray) -> np.ndarray:
        """The people (or other objects) in each cell of an image: (ceil(H / stride), ceil(W / stride)) float32.

        `image` is a file, or (H, W, 3) uint8 RGB. H and W are those of the preprocessed image: turned as its EXIF
        orientation says, and scaled down as the training images were. Raises UserError: it cannot be decoded."""
        pixels = preprocess(Path(image) if isinstance(image, str) else image, self._longest_side)
        batch = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))[None].to(self.device)
        with torch.inference_mode():
            density: np.ndarray = (self._counter(batch / 255) / self.metadata["scale"])[0, 0].cpu().numpy()
        return density

    def count(self, image: Path | str | np.ndarray) -> float:
        """How many people (or other objects) an image shows. Takes and raises what `density` does."""
        return float(self.density(image).sum(dtype=np.float64))

    @property
    def _longest_side(self) -> int | None:
        side: int | None = self.metadata["preprocessing"]["longest_side"]
        return side


def load_predictor(path: Path | str) -> Predictor:
    """The counter of a weights file, or of a run's folder (its best epoch). Raises UserError: see `read_weights`."""
    path = Path(path)
    return Predictor(read_weights(RunPaths(path).best if path.is_dir() else path))


def _counter(weights: Weights) -> Counter:
    choice, where = Choice.model_validate(weights.metadata["counter"]), f"{weights.file}: counter"
    options = plugins.resolve("counter", choice, where)
    counter: Counter = plugins.build("counter", choice.kind, options).to(memory_format=torch.channels_last)
    try:
        counter.load_state_dict(weights.of("counter"))
    except RuntimeError as error:
        raise UserError(f"{weights.file}: does not fit the counter {choice.kind} of this version ({error})") from None
    return counter
