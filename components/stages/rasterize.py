"""Draw the annotation maps of one entry of `maps`: `python -m components.stages.rasterize STUDY MAP`.

The pack holds float32 maps (ceil(H/4), ceil(W/4)) in people per cell. Map i belongs to row i of the manifest. One core
is enough: `benchmarks/density_maps.py` measures it."""

from __future__ import annotations

import numpy as np
import torch

from components.config import plugins
from components.config.load import read_entry
from components.config.study import MapEntry
from components.crowd import CELL
from components.data.manifest import Prepared, Row
from components.data.packed import PackWriter
from components.density_maps.annotation import annotation_map
from components.density_maps.drawn import Kernel
from components.errors import UserError
from components.workspace.layout import Layout
from components.workspace.processes import run_stage
from components.workspace.progress import progress


def rasterize(layout: Layout, name: str) -> None:
    """Write the maps of `maps.<name>`. Raises UserError: no such kind or option, or the data are not prepared."""
    entry, where = read_entry(MapEntry, layout.settings("maps", name)), f"{layout.params}: maps.{name}.kernel"
    kernel = plugins.build("drawn map", entry.kernel.kind, plugins.resolve("drawn map", entry.kernel, where))
    prepared = Prepared(layout.prepared(entry.dataset).folder)
    with PackWriter(layout.maps(name), np.float32) as pack:
        for row in progress(prepared.rows, f"rasterize {name}", len(prepared.rows), "maps"):
            pack.append(annotation_map(row, _bandwidths(kernel, row, where), prepared.region(row, CELL)))


def _bandwidths(kernel: Kernel, row: Row, where: str) -> np.ndarray:
    try:
        return kernel.bandwidths(row.dots, row.perspective)
    except UserError as error:
        raise UserError(f"{where}: {row.id}: {error}") from None


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_stage(rasterize, "map")
