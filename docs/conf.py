"""Sphinx's settings. Pages that say what the code has are made from it before each build (`made.py`)."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

project = "dotfield"
version = release = version_of("dotfield")
copyright = "the authors of dotfield; Apache 2.0"
extensions = ["myst_parser"]
exclude_patterns = ["made/*.txt"]
myst_heading_anchors = 3  # links such as page.md#heading are checked
html_theme = "furo"
html_title = f"dotfield {version}"


def setup(app: object) -> None:
    import made

    made.write(HERE / "made")
