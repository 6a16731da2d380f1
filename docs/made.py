"""Pages and figures that are made from the code, so that they are never out of date: options, commands, drawn maps."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch

from components.cli import dotfield, main
from components.config.describe import STUDY_SCHEMAS, Kind, Option, describe, describe_schema
from components.config.plugins import FAMILIES, kinds
from components.datasets import synthetic
from components.density_maps.drawn import adaptive
from components.density_maps.gaussian import draw
from components.publish.figures import Panel, counted, page

HEAD = ["| option | type | default | meaning |", "|---|---|---|---|"]


def write(folder: Path) -> None:
    """Write `kinds.md`, `study.md`, `commands.md` and `drawn.png`."""
    folder.mkdir(exist_ok=True)
    for name, lines in (("kinds", kinds_page()), ("study", study_page()), ("commands", commands_page())):
        (folder / f"{name}.md").write_text("\n".join(lines) + "\n")
    draw_maps(folder / "drawn.png")


def kinds_page() -> Iterator[str]:
    """Every kind of every family, with its options."""
    yield from ("# Kinds and their options", "", "The same in a terminal: `dotfield kinds`, `dotfield kinds mixture`.")
    for family in FAMILIES:
        yield from ("", f"## {family.capitalize()}")
        for kind in kinds(family):
            yield from kind_section(describe(family, kind))


def kind_section(kind: Kind) -> Iterator[str]:
    """One kind: what it is, and a table of its options."""
    yield from ("", f"### {kind.kind}", "", kind.summary)
    if kind.notes:
        yield from ("", kind.notes)
    yield from ("", *option_table(kind.options)) if kind.options else ("", "It has no options.")


def option_table(options: list[Option]) -> Iterator[str]:
    """A row for each option."""
    yield from HEAD
    for option in options:
        default = "required" if option.required else _code(option.default or "")
        paper = "" if option.paper is None else f"; preset `paper`: {_code(option.paper)}"
        meaning = option.meaning.replace("|", "\\|")
        yield f"| {_code(option.name)} | {option.type.replace('|', chr(92) + '|')} | {default}{paper} | {meaning} |"


def study_page() -> Iterator[str]:
    """Every key of `study.yaml`."""
    yield from ("# The study file", "", "Every key of `params/NAME/study.yaml`; `dotfield check NAME` finds mistakes.")
    for schema in STUDY_SCHEMAS:
        words = (inspect.getdoc(schema) or "").split("\n\n")
        yield from ("", f"## {schema.__name__}", "", *words[:1], "", *option_table(describe_schema(schema)))


def commands_page() -> Iterator[str]:
    """The help of every command."""
    yield from ("# Commands", "", "Exit codes: " + (inspect.getdoc(main) or "").partition("Exit codes: ")[2])
    yield from command_sections(dotfield, click.Context(dotfield, info_name="dotfield"))


def command_sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """A section for a command, and one for each command below it."""
    yield from ("", f"## {context.command_path}", "", "```text", command.get_help(context), "```")
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from command_sections(inner, click.Context(inner, info_name=name, parent=context))


def draw_maps(target: Path) -> None:
    """A made picture beside its hand-crafted density maps on cells of 4 pixels."""
    pixels, places = synthetic.scene(synthetic.Params(low=60, high=60), 3)
    dots, size = torch.from_numpy(places), pixels.shape[:2]
    sigmas = {
        "fixed, sigma 4 px": np.full(len(places), 4.0),
        "fixed, sigma 16 px": np.full(len(places), 16.0),
        "adaptive": adaptive.build(adaptive.Params()).bandwidths(places),
    }
    maps = [counted(title, draw(dots, torch.from_numpy(each), size).numpy()) for title, each in sigmas.items()]
    page([[Panel(f"{len(places)} people", pixels), *maps]], target)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else "` `"
