"""`dotfield export`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--half", is_flag=True, help="Weights in half precision: a file of half the size.")
@click.option("--data", type=click.Path(path_type=Path), help="Prepared data to measure on; else those of the study.")
def export_run(run: Path, file: Path, half: bool, data: Path | None) -> None:
    """Write the counter of RUN (a run's folder, or weights) as one FILE, and a model card beside it.

    A FILE that ends in .safetensors holds weights for dotfield.load(). It is counted with and compared with the run
    before it is kept."""
    from components.export.card import summary
    from components.export.export import export

    click.echo(summary(export(run, file, half=half, data=data)))
