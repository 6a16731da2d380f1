"""Two pictures as people may have them, and what a reader makes of what lies beside them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from components.config import plugins
from components.config.options import Choice
from components.crowd import Problem

WIDTH, HEIGHT = 64, 48


def pictures(folder: Path) -> Path:
    """The folder, now with two images, one of them in a folder of its own."""
    for name in ("a.jpg", "more/b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    return folder


def read(kind: str, root: Path, **options: object) -> tuple[dict[str, list], list[Problem]]:
    """Dots by the image's id, and the problems."""
    choice = Choice.model_validate({"kind": kind, "root": str(root)} | options)
    dataset = plugins.build("dataset", kind, plugins.resolve("dataset", choice, "test"))
    problems: list[Problem] = []
    return {sample.id: sample.dots.tolist() for sample in dataset.samples(problems)}, problems


def said(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(Path(problem.file).name, problem.what) for problem in problems]


def splits(kind: str, root: Path, **options: object) -> tuple[dict[str, str | None], list[Problem]]:
    """Published splits by the image's id, and the problems."""
    choice = Choice.model_validate({"kind": kind, "root": str(root)} | options)
    dataset = plugins.build("dataset", kind, plugins.resolve("dataset", choice, "test"))
    problems: list[Problem] = []
    return {sample.id: sample.split for sample in dataset.samples(problems)}, problems
