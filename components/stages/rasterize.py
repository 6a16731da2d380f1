"""Draw the annotation maps of one entry of `maps`: `python -m components.stages.rasterize STUDY MAP`.

The pack holds float32 maps (ceil(H/4), ceil(W/4)) in people per cell. Map i belongs to row i of the
manifest. One core is enough: `benchmarks/density_maps.py` measures it."""

from __future__ import annotations

import numpy as np
import torch

from components import plugins
from components.density_maps._gaussian import draw
from components.density_maps.drawn import Kernel
from components.packing import PackWriter
from components.params import Study
from components.prepared import Prepared, Row
from components.stages._command import entry, run
from components.stages._layout import Layout
from components.stages._progress import shown


def rasterize(study: Study, layout: Layout, name: str) -> None:
    """Write the maps of `maps.<name>`. Raises ValueError: no such entry, kind or option, or data not prepared."""
    chosen = entry(study.maps, name, "maps", study)
    options = plugins.resolve("drawn map", chosen.kernel, f"{layout.params}: maps.{name}.kernel")
    kernel = plugins.build("drawn map", chosen.kernel.kind, options)
    rows = Prepared(layout.prepared(chosen.dataset)).rows
    with PackWriter(layout.maps(name), np.float32) as pack:
        for row in shown(rows, f"rasterize {name}", len(rows), "maps"):
            pack.append(annotation_map(row, kernel))


def annotation_map(row: Row, kernel: Kernel) -> np.ndarray:
    """The map (ceil(H/4), ceil(W/4)) float32 of one image, people per cell; `kernel` gives its dots' bandwidths."""
    sigmas = torch.from_numpy(kernel.bandwidths(row.dots))
    drawn = draw(torch.from_numpy(row.dots), sigmas, (row.height, row.width)).numpy()
    people = len(row.dots)
    assert abs(drawn.sum(dtype=np.float64) - people) <= 1e-4 * max(1, people), f"{row.id}: a map that loses people"
    return drawn


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(rasterize, "study", "map")
