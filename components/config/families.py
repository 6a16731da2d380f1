"""Which kinds there are: a kind is the name of a file. Imports nothing, for what must answer at once."""

from __future__ import annotations

from pathlib import Path

FAMILIES = {
    "dataset": "datasets",
    "drawn map": "density_maps.drawn",
    "density map": "density_maps.learned",
    "counter": "counters",
    "loss": "losses",
}


def kinds(family: str) -> list[str]:
    """Every kind of a family, in alphabetical order."""
    folder = Path(__file__).parents[1] / FAMILIES[family].replace(".", "/")
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
