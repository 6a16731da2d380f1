"""README and docs: shell blocks are run as they stand or say why not; commands, links and the reference are real."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml
from PIL import Image

from components.cli import dotfield
from components.datasets.synthetic import Params, scene
from tests import stand_in
from tests.conftest import ROOT

TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").glob("*.md"))]
SKETCHES = {"CONTRIBUTING.md"}  # its Python blocks are parts of files to be written
NOT_RUN = re.compile(r"^<!-- not run: (\S.*\S) -->$")
FENCE = re.compile(r"^```(\S*)")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
SCRIPTS = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


class Block(NamedTuple):
    """A fenced block of a page; `reason` says why it is not run."""

    where: str
    language: str
    text: str
    reason: str | None

    @property
    def runs(self) -> bool:
        return self.reason is None and (
            self.language == "sh" or (self.language == "python" and self.where.split(":")[0] not in SKETCHES)
        )


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    found, start, before = [], 0, ""
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if not FENCE.match(line):
            continue
        if not start:
            start, before = number, lines[number - 2]
            continue
        language, reason = FENCE.match(lines[start - 1]), NOT_RUN.match(before)
        assert language is not None
        text = "\n".join(lines[start : number - 1]) + "\n"
        found.append(Block(f"{page.name}:{start}", language[1], text, reason[1] if reason else None))
        start = 0
    assert not start, f"{page.name}:{start}: the block has no end"
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block."""
    for line in block.text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words
                words = []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is_and_a_reason_stands_above_a_block(page: Path) -> None:
    found = blocks(page)
    known = {"sh", "python", "yaml", "text"}
    assert [block.where for block in found if not (block.language in known or block.language.startswith("{"))] == []
    assert page.read_text().count("<!-- not run") == sum(block.reason is not None for block in found)
    for block in found:
        if block.language == "yaml":
            assert all(yaml.safe_load(line) for line in block.text.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_and_take_these_options(page: Path) -> None:
    """Also those that are not run."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for block in blocks(page):
        for words in commands(block) if block.language == "sh" else ():
            if words[0] == "dotfield":
                parse(words[1:], block.where)
            elif words[:2] == ["python", "-m"]:
                assert importlib.util.find_spec(words[2]), f"{block.where}: there is no module {words[2]}"
            elif words[0] == "make":
                assert words[1] in targets, f"{block.where}: make {words[1]}"


def parse(words: list[str], where: str) -> None:
    """Parse the words after `dotfield` as click does, up to the values, which may be files of a reader."""
    command: click.Command = dotfield
    context = click.Context(dotfield, info_name="dotfield")
    while isinstance(command, click.Group):
        assert words[0] in command.commands, f"{where}: there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    try:
        values, rest, _ = command.make_parser(context).parse_args(list(words))
    except click.UsageError as error:
        pytest.fail(f"{where}: {command.name}: {error.message}")
    assert rest == [], f"{where}: {command.name} takes no {rest}"
    given = [word for word in words if not word.startswith("-")]
    required = [each for each in command.params if isinstance(each, click.Argument) and each.required]
    assert len(given) >= len(required), f"{where}: {command.name} needs {[each.name for each in required]}: {values}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Links to pages that are made from the code are checked when the pages are built."""
    for path, anchor in LINK.findall(page.read_text()):
        target = page.parent / path if path else page
        if "made" in Path(path).parts:
            continue
        assert target.exists(), f"{page.name}: {path}"
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in slugs, f"{page.name}: {path}#{anchor}"


def test_the_reference_has_every_command_and_whole_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import made

    text = "\n".join(made.commands_page())
    assert {"## dotfield data check", "## dotfield count"} <= {*text.splitlines()}
    assert [name for name in dotfield.commands if f"\n## dotfield {name}\n" not in text] == []
    for page in (made.kinds_page(), made.study_page()):
        rows = [line for line in page if line.startswith("|")]
        assert len(rows) > 50
        assert [row for row in rows if len(re.findall(r"(?<!\\)\|", row)) != 5] == []


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert citation["license"] == project["license"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.runs for block in blocks(page))], ids=lambda page: page.name
)
def test_the_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    """In a copy of the project, beside files that a reader may have."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    reader_files(tmp_path)
    for block in blocks(page):
        if block.runs:
            result = stand_in.command(tmp_path, *SCRIPTS[block.language], block.text)
            assert result.returncode == 0, f"{block.where}\n{result.stdout}"


def reader_files(folder: Path) -> None:
    """Photographs, and two zones in one of them."""
    names = {"photos/1.jpg": (128, 96), "cam-1/1.jpg": (128, 96), "photo.jpg": (128, 96), "cam.jpg": (1024, 768)}
    for number, (name, (width, height)) in enumerate(names.items()):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(scene(Params(width=width, height=height), number)[0]).save(folder / name)
    halves = {"left": (0, 512), "right": (512, 1024)}
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {"type": "Polygon", "coordinates": [[[a, 450], [b, 450], [b, 768], [a, 768], [a, 450]]]},
        }
        for name, (a, b) in halves.items()
    ]
    (folder / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
