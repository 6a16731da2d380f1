"""`dotfield export`: a run as one file, checked against the run, with a model card beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from components.data.manifest import Prepared
from components.errors import UserError
from components.export.card import markdown
from components.export.check import Density, check_images, largest_difference, require_equal
from components.export.facts import describe
from components.export.weights_file import WeightsFile
from components.runs.folder import Weights, read_weights
from components.runs.predictor import load_predictor
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

    def usage(self, name: str) -> list[str]:
        """How a file of that name is used: lines of the card."""

    def write(self, file: Path, weights: Weights) -> None:
        """Raises UserError where a package that this needs is not installed."""

    def open(self, file: Path) -> Density:
        """The file, read again by the program that runs such files."""

    def embed(self, file: Path, facts: dict[str, Any]) -> None:
        """Add the facts of the model card to the file, where the format has a place for them."""


FORMATS: dict[str, Callable[[bool, str], Format]] = {".safetensors": lambda half, inputs: WeightsFile(half)}


def export(
    run: Path, file: Path, *, half: bool = False, inputs: str = "uint8", data: Path | None = None
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
        form.write(partial, weights)
        facts = _checked_facts(form, partial, file, source, prepared)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    facts["file"] |= {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    file.with_name(f"{file.name}.md").write_text(markdown(facts))
    return facts


def format_of(file: Path, half: bool, inputs: str) -> Format:
    """The format that a file's ending names. Raises UserError where there is none."""
    if file.suffix not in FORMATS:
        raise UserError(f"{file}: its name must end in {' or '.join(FORMATS)}")
    return FORMATS[file.suffix](half, inputs)


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
    run, density, images = load_predictor(source), form.open(written), check_images(prepared)
    difference = largest_difference(run.density, density, images)
    require_equal(str(file), difference, form.tolerance)
    weights = read_weights(source)
    facts = describe(weights, prepared, density)
    form.embed(written, facts)
    target = file.name if file.is_absolute() else file
    about = {
        "name": file.name,
        "kind": form.kind,
        "images": len(images),
        "difference": difference,
        "use": form.usage(file.name),
        "command": f"dotfield export {run_folder(weights.metadata)} {target}{form.flags}",
    }
    return facts | {"file": about}
