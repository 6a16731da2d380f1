"""`dotfield export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.cli.output import json_option, print_json

if TYPE_CHECKING:
    from components.export.network import Inputs


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--half", is_flag=True, help="Weights in half precision: a file of half the size.")
@click.option("--input", "inputs", type=click.Choice(["uint8", "imagenet"]), help="Of a network: pixels (default).")
@click.option("--data", type=click.Path(path_type=Path), help="Prepared data to measure on; else those of the study.")
@json_option
def export_run(run: Path, file: Path, half: bool, inputs: Inputs | None, data: Path | None, as_json: bool) -> None:
    """Write the counter of RUN (a run's folder, or weights) as one FILE, and a model card beside it.

    .safetensors holds weights for dotfield.load(), .onnx and .pt2 (torch.export) a network for images of any size. The
    file is counted with and compared with the run before it is kept."""
    from components.export.card import summary
    from components.export.export import export

    facts = export(run, file, half=half, inputs=inputs, data=data)
    if as_json:
        print_json(**facts)
        return
    click.echo(summary(facts))
