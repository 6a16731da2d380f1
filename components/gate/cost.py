"""What counting costs: time and memory, both counters in turns, so that a busy machine burdens both alike."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from components.gate.policy import Costs
from components.gate.verdict import Check, at_most
from components.runs.predictor import Predictor


def costs(candidate: Predictor, current: Predictor, images: Sequence[np.ndarray], options: Costs) -> list[Check]:
    """Supporting: latency and memory as multiples of those of the counter in use, on images (H, W, 3) uint8."""
    seconds = np.array([_in_turns(candidate, current, image, options.repeats) for image in images])
    ours, theirs = seconds.sum(axis=0)
    latency, memory = ours / theirs, peak_bytes(candidate, images[0]) / peak_bytes(current, images[0])
    each = f"{ours / len(images):.3f} s for an image, in use {theirs / len(images):.3f} s"
    return [
        at_most("latency", "supporting", float(latency), options.latency, f"{latency:.2f} times: {each}"),
        at_most("memory", "supporting", memory, options.memory, f"{memory:.2f} times that of the counter in use"),
    ]


def _in_turns(candidate: Predictor, current: Predictor, image: np.ndarray, repeats: int) -> tuple[float, float]:
    """The shortest of `repeats` times of both; a first count of each, which warms up, is not timed."""
    candidate.count(image), current.count(image)
    times = [(_seconds(candidate, image), _seconds(current, image)) for _ in range(repeats)]
    ours, theirs = np.min(times, axis=0)
    return float(ours), float(theirs)


def _seconds(predictor: Predictor, image: np.ndarray) -> float:
    """Processor time on a CPU, which others' load hardly changes; on a GPU, the time until the count is there."""
    clock: Callable[[], float] = time.process_time if predictor.device.type == "cpu" else time.perf_counter
    start = clock()
    predictor.count(image)
    return clock() - start


def peak_bytes(predictor: Predictor, image: np.ndarray) -> int:
    """The most bytes that tensors hold at once while an image is counted, the weights among them."""
    live = LiveTensors()
    with live:
        predictor.count(image)
    return live.peak


class LiveTensors(TorchDispatchMode):
    """Adds up the storages of all tensors that operations read and make, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self._sizes:
                storage = tensor.untyped_storage()
                self._sizes[storage.data_ptr()] = storage.nbytes()
                weakref.finalize(storage, self._sizes.pop, storage.data_ptr(), None)
        self.peak = max(self.peak, sum(self._sizes.values()))
        return result
