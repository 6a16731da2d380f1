"""`dotfield export`: a run as one file, checked against the run, with a model card beside it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from components.data.decode import preprocess
from components.data.manifest import Prepared
from components.errors import UserError
from components.export.card import markdown
from components.export.check import Density, check_images, largest_difference, require_equal
from components.export.facts import describe
from components.export.network import Inputs
from components.export.onnx_file import OnnxFile
from components.export.torch_program import TorchProgram
from components.export.weights_file import WeightsFile
from components.runs.folder import Weights, read_weights
from components.runs.predictor import load_predictor
from components.workspace.atomic import write_atomically
from components.workspace.layout import Layout, RunPaths


class Format(Protocol):
    """A kind of file to which runs are exported."""

    @property
    def kind(self) -> str:
        """What it is, for people."""

    @property
    def tolerance(self) -> float:
        """How far counts may differ from the run's, relative."""

    @property
    def flags(self) -> str:
        """The options of the command that choose it, each after a space."""

    def usage(self, name: str, longest_side: int | None) -> str:
        """How a file of that name is used, in Markdown; the run's pictures had no side above `longest_side` pixels."""

    def write(self, file: Path, weights: Weights) -> None:
        """Raises UserError where a package that this needs is not installed."""

    def open(self, file: Path) -> Density:
        """The file, read again by the program that runs such files."""

    def embed(self, file: Path, facts: dict[str, Any]) -> None:
        """Add the facts of the model card to the file, where the format has a place for them."""


NETWORKS: dict[str, Callable[[Inputs], Format]] = {".onnx": OnnxFile, ".pt2": TorchProgram}
WEIGHTS = ".safetensors"


def export(
    run: Path, file: Path, *, half: bool = False, inputs: Inputs | None = None, data: Path | None = None
) -> dict[str, Any]:
    """Write `file`, in the format that its ending names, and beside it the model card, such as `counter.onnx.md` for
    `counter.onnx`; the facts of the card.

    `run` is a run's folder, of which the best weights are taken, or a weights file. `data` is the prepared data set
    whose held-out images the card's errors are of; without one, that of the run's study, where it still lies. An
    earlier file of that name stays until the new one is checked. Raises UserError: no such run or format, or the file
    does not count what the run counts, and is not kept."""
    source = RunPaths(run).best if run.is_dir() else run
    form, weights = format_of(file, half, inputs), read_weights(source)
    if file.resolve() == source.resolve():
        raise UserError(f"{file}: is the run's own file; give the export another name")
    prepared = find_prepared(source, weights.metadata, data)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"partial-{file.name}")
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's, of what it does itself
            form.write(partial, weights)
        facts = _checked_facts(form, partial, file, source, prepared)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    facts["file"] |= {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    write_atomically(file.with_name(f"{file.name}.md"), markdown(facts).encode())
    return facts


def format_of(file: Path, half: bool, inputs: Inputs | None) -> Format:
    """The format that a file's ending names. Raises UserError where there is none, or where an option is not for it."""
    if file.suffix == WEIGHTS:
        if inputs is not None:
            raise UserError(f"{file}: --input is for networks ({', '.join(NETWORKS)}); leave it out")
        return WeightsFile(half)
    if file.suffix not in NETWORKS:
        raise UserError(f"{file}: its name must end in {', '.join([WEIGHTS, *NETWORKS])}")
    if half:
        raise UserError(f"{file}: --half is for weights ({WEIGHTS}); leave it out")
    return NETWORKS[file.suffix](inputs or "uint8")


def find_prepared(source: Path, metadata: dict[str, Any], data: Path | None) -> Prepared | None:
    """The prepared data in the folder `data`; without one, those of the study in whose folder the weights file `source`
    lies, or None. Raises UserError where `data` holds none."""
    if data is not None:
        return Prepared(data)
    layout, own = Layout(metadata["study"]), run_folder(metadata) / source.name
    parents, depth = source.resolve().parents, len(own.parts)
    if depth > len(parents) or parents[depth - 1] / own != source.resolve():
        return None  # the weights were moved out of their study
    prepared = layout.prepared(metadata["dataset"])
    root = parents[depth - 1]
    return Prepared(root / prepared.folder) if (root / prepared.manifest).exists() else None


def run_folder(metadata: dict[str, Any]) -> Path:
    """The folder of a run in its study, from the project's root."""
    return Layout(metadata["study"]).run(metadata["experiment"], metadata.get("seed", 0)).folder


def _checked_facts(form: Format, written: Path, file: Path, source: Path, prepared: Prepared | None) -> dict[str, Any]:
    """Compare the written file, which will be called `file`, with the run, and count the held-out images with it."""
    weights, density = read_weights(source), form.open(written)
    side = weights.metadata["preprocessing"]["longest_side"]
    images = [preprocess(image, side) for image in check_images(prepared)]
    difference = largest_difference(load_predictor(source).density, density, images)
    require_equal(str(file), difference, form.tolerance)
    facts = describe(weights, prepared, density)
    form.embed(written, facts)
    target = file.name if file.is_absolute() else file
    about = {
        "name": file.name,
        "kind": form.kind,
        "images": len(images),
        "difference": difference,
        "use": form.usage(file.name, side),
        "command": f"dotfield export {run_folder(weights.metadata)} {target}{form.flags}",
    }
    return facts | {"file": about}
