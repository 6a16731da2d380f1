"""A run's counter as a network that any ONNX runtime runs, `.onnx`. Needs the extra dotfield[export]."""

from __future__ import annotations

import json
import logging
import operator
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from components.errors import UserError
from components.export.check import Density
from components.export.network import IMAGES, PEOPLE, NetworkFormat, input_words, network_input, trace
from components.runs.folder import HEADER, Weights

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
CARD = "dotfield_card"  # the key of the metadata under which the facts of the model card stand


class OnnxFile(NetworkFormat):
    """A network for images of any size; the run's metadata stand in its own as JSON."""

    @property
    def kind(self) -> str:
        return f"ONNX, {self.inputs} input"

    def usage(self, name: str, longest_side: int | None) -> str:
        run = f"onnxruntime.InferenceSession({name!r}).run(None, {{{IMAGES!r}: images}})[0]"
        return f"`{run}` {input_words(self.inputs, longest_side)}"

    def write(self, file: Path, weights: Weights) -> None:
        require_packages(str(file))
        save_onnx(file, trace(weights, self.inputs), weights.metadata)

    def open(self, file: Path) -> Density:
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

        def density(image: np.ndarray) -> np.ndarray:
            people: np.ndarray = session.run(None, {IMAGES: network_input(image, self.inputs)})[0][0, 0]
            return people

        return density

    def embed(self, file: Path, facts: dict[str, Any]) -> None:
        import onnx

        model = onnx.load(file)
        model.metadata_props.add(key=CARD, value=json.dumps(facts))
        onnx.save(model, file)


def require_packages(file: str) -> None:
    """Raises UserError where a package of the extra is not installed."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f'{file}: needs {", ".join(missing)}; pip install "dotfield[export]"')


def save_onnx(file: Path, program: ExportedProgram, metadata: dict[str, Any]) -> None:
    """Write a traced network as ONNX, with the metadata of its run."""
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of operators of torchvision, which none has
    exported = torch.onnx.export(
        program,
        dynamo=True,
        input_names=[IMAGES],
        output_names=[PEOPLE],
        custom_translation_table={operator.floordiv: _floor_division},
        verbose=False,
    )
    assert exported is not None
    model = exported.model_proto
    _name_sides(model.graph.input[0], ("height", "width"))
    _name_sides(model.graph.output[0], ("rows", "columns"))
    onnx.helper.set_model_props(model, {HEADER: json.dumps(metadata)})
    onnx.save(model, file)


def _floor_division(dividend: Any, divisor: Any) -> Any:
    """Python's a // b in ONNX, whose Div rounds towards zero: sizes in cells, -(-pixels // stride), would be too small.

    The remainder of ONNX's Mod has the divisor's sign, as Python's."""
    from onnxscript import opset20 as op

    return op.Div(op.Sub(dividend, op.Mod(dividend, divisor)), divisor)


def _name_sides(value: Any, names: Sequence[str]) -> None:
    """Call the last two dimensions of a network's input or output by these names, and not by terms of torch's."""
    for dimension, name in zip(value.type.tensor_type.shape.dim[2:], names, strict=True):
        dimension.dim_param = name
