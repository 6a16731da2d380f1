"""A run's counter as a program that torch runs without dotfield: `torch.export`, `.pt2`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from components.export.check import Density
from components.export.network import NetworkFormat, input_words, network_input, trace
from components.runs.folder import HEADER, Weights


class TorchProgram(NetworkFormat):
    """A network for images of any size, on the CPU; the run's metadata stand in it as the extra file `dotfield`."""

    @property
    def kind(self) -> str:
        return f"a program of torch.export, {self.inputs} input"

    def usage(self, name: str, longest_side: int | None) -> str:
        return f"`torch.export.load({name!r}).module()(images)` {input_words(self.inputs, longest_side)}"

    def write(self, file: Path, weights: Weights) -> None:
        save_program(file, trace(weights, self.inputs), weights.metadata)

    def open(self, file: Path) -> Density:
        network = torch.export.load(file).module()

        def density(image: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                people: np.ndarray = network(torch.from_numpy(network_input(image, self.inputs)))[0, 0].numpy()
            return people

        return density

    def embed(self, file: Path, facts: dict[str, Any]) -> None:
        """Such a file cannot be added to."""


def save_program(file: Path, program: ExportedProgram, metadata: dict[str, Any]) -> None:
    """Write a traced network, with the metadata of its run."""
    torch.export.save(program, file, extra_files={HEADER: json.dumps(metadata)})
