"""`dotfield count`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from components.counting.count import Count, Job
    from components.counting.pictures import Picture
    from components.counting.results import Form

SOME_FAILED = 3  # exit code
FILE = click.Path(path_type=Path)


@click.command()
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@click.option("--counter", type=FILE, help="A run's folder or a weights file.  [default: the released counter]")
@click.option("--deployed", is_flag=True, help="Count with the counter in use: `dotfield deployed` says which.")
@click.option("--registry", metavar="ADDRESS", help="Of --deployed.  [default: DOTFIELD_REGISTRY, or registry/]")
@click.option("--json", "form", flag_value="json", help="Print one JSON document, with how the counts were made.")
@click.option("--json-lines", "form", flag_value="json-lines", help="Print a line of JSON for each picture.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--parquet", type=FILE, metavar="FILE", help="Also write a Parquet file.")
@click.option("--overlay", type=FILE, metavar="FOLDER", help="Also draw the pictures with their density.")
@click.option(
    "--region", "regions", multiple=True, type=FILE, metavar="FILE", help="Zones: GeoJSON, LabelMe, supervision."
)
@click.option("--ground", metavar='"X,Y X,Y X,Y X,Y"', help="Corners of a rectangle on the ground, in order around it.")
@click.option("--ground-size", metavar="AxB", help="Metres from its first to its second corner, and on to its third.")
@click.option(
    "--every", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds between a video's frames."
)
@click.option("--longest-side", type=click.IntRange(0), help="Scale to this; 0: not at all.  [default: as in training]")
@click.option("--bf16", is_flag=True, help="Compute in bfloat16: faster where the processor does; counts are rounded.")
@click.option("--flip", is_flag=True, help="Average with the count of the mirrored picture.")
@click.option("--workers", type=click.IntRange(1), help="Pictures counted at once.  [default: processors]")
def count(
    pictures: tuple[str, ...],
    counter: Path | None,
    deployed: bool,
    registry: str | None,
    form: Form | None,
    parquet: Path | None,
    overlay: Path | None,
    regions: tuple[Path, ...],
    ground: str | None,
    ground_size: str | None,
    every: float,
    longest_side: int | None,
    bf16: bool,
    flip: bool,
    workers: int | None,
) -> None:
    """Count people (or what the counter was trained to count) in each PICTURE.

    A PICTURE is an image, a folder, a pattern, an s3:// address, a video or a stream's address, or - for an image on
    standard input. What cannot be counted is said, the rest is counted, and the exit code is 3."""
    from components.config.study import Averaging
    from components.counting import results
    from components.counting.count import Job
    from components.counting.pictures import find_pictures
    from components.counting.zones import parse_ground, read_zones
    from components.runs.predictor import load_predictor

    if bool(ground) != bool(ground_size):
        raise click.UsageError("--ground and --ground-size go together")
    if deployed:
        counter = _in_use(counter, registry)
    _check_outputs(parquet, overlay)
    predictor = load_predictor(counter)
    if longest_side is not None:
        predictor.longest_side = longest_side or None
    predictor.bf16 = bf16
    zones = [zone for file in regions for zone in read_zones(file)]
    measured = parse_ground(ground, ground_size) if ground and ground_size else None
    job = Job(predictor, zones, measured, Averaging(flip=flip), overlay)
    made, names = results.provenance(predictor, job.averaging), [zone.name for zone in job.all_zones]
    counts: list[Count] = []
    watched = _watch(job, find_pictures(pictures, every), workers, counts)
    try:
        for line in results.lines(form or "text", watched, made, names, measured is not None):
            click.echo(line)
    finally:  # what was counted before Ctrl-C too: a stream has no other end
        if parquet:
            results.write_parquet(parquet, counts, made, names, measured is not None)
    if any(each.error for each in counts):
        sys.exit(SOME_FAILED)


def _check_outputs(parquet: Path | None, overlay: Path | None) -> None:
    """Raises UserError, before anything is counted, for an output that cannot be written."""
    from components.errors import UserError

    if parquet and (parquet.is_dir() or not parquet.absolute().parent.is_dir()):
        raise UserError(f"--parquet {parquet}: is a folder, or its folder does not exist; name a file")
    if overlay and overlay.exists() and not overlay.is_dir():
        raise UserError(f"--overlay {overlay}: is a file; name a folder")


def _in_use(counter: Path | None, registry: str | None) -> Path:
    """The weights file of the counter in use. Raises UserError where there is none."""
    from components.cli.registry import open_registry
    from components.errors import UserError

    if counter is not None:
        raise click.UsageError("give --counter or --deployed, not both")
    opened = open_registry(registry)
    used = opened.current()
    if used is None:
        raise UserError(f"{opened.address}: no counter is in use; deploy one with `dotfield deploy RUN --reason TEXT`")
    return opened.weights(used.counter)


def _watch(job: Job, pictures: Iterator[Picture], workers: int | None, counts: list[Count]) -> Iterator[Count]:
    """The counts, kept in `counts`; errors, a bar on a terminal, and a line at the end go to standard error."""
    from tqdm import tqdm

    from components.counting.count import count_pictures
    from components.errors import printable

    start = time.perf_counter()
    for each in tqdm(count_pictures(job, pictures, workers), "count", unit=" pictures", disable=None, leave=False):
        counts.append(each)
        if each.error:
            click.echo(f"dotfield: {printable(each.error)}", err=True)
        yield each
    failed = sum(each.error is not None for each in counts)
    speed = (len(counts) - failed) / (time.perf_counter() - start)
    lost = f", {failed} not" if failed else ""
    click.echo(f"{len(counts) - failed} pictures counted{lost}; {speed:.1f} a second", err=True)
