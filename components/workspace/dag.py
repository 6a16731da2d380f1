"""The stages of a pipeline as a tree for people: what waits for what, what is fresh, and why the rest is not."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.text import Text
from rich.tree import Tree

from components.workspace.layout import Layout

FRESH, STALE, WAITS, NEVER = "fresh", "stale", "waits", "never run"
COLOURS = {FRESH: "green", STALE: "yellow", WAITS: "cyan", NEVER: "dim"}


class Stage(NamedTuple):
    """One stage: what it reads and makes, and the stages whose outputs it reads."""

    deps: list[str]
    outs: list[str]
    after: list[str]


class State(NamedTuple):
    """How a stage stands, and why, in a few words."""

    state: str
    why: str = ""


def stages(pipeline: str) -> dict[str, Stage]:
    """The stages of a `dvc.yaml` by DVC's names (`train@fixed`), each after those that it depends on."""
    written = yaml.safe_load(pipeline)
    variables = {key: value for each in written.get("vars", ()) for key, value in each.items()}
    found = dict(_expanded(written["stages"], variables))
    after = {
        name: [other for other, (_, outs) in found.items() if other != name and _reads(deps, outs)]
        for name, (deps, _) in found.items()
    }
    depths = {name: _depth(name, after) for name in found}
    return {
        name: Stage(*found[name], sorted(after[name], key=lambda other: depths[other]))
        for name in sorted(found, key=lambda name: depths[name])
    }


def states(stages: Mapping[str, Stage], layout: Layout, changes: Mapping[str, Any]) -> dict[str, State]:
    """The state of each stage; `changes` is what `dvc status --json` says of those that changed."""
    lock = yaml.safe_load(layout.pipeline_lock.read_text()) if layout.pipeline_lock.exists() else None
    ran, found = set((lock or {}).get("stages", ())), dict[str, State]()
    for name, stage in stages.items():
        first = next((other for other in stage.after if found[other].state != FRESH), None)
        if name not in ran:
            found[name] = State(NEVER)
        elif name in changes:
            found[name] = State(STALE, _reason(changes[name]))
        else:
            found[name] = State(WAITS, f"for {_words(first)}") if first else State(FRESH)
    return found


def tree(title: str, stages: Mapping[str, Stage], states: Mapping[str, State]) -> Tree:
    """Each entry's stage below the last of those that it waits for; those of a whole study at the left."""
    counts = Counter(each.state for each in states.values())
    total = ", ".join(f"{count} {state}" for state, count in counts.items())
    root = Tree(f"{title}: {len(stages)} stages: {total}")
    nodes: dict[str, Tree] = {}
    for name, stage in stages.items():
        above = nodes[stage.after[-1]] if "@" in name and stage.after else root
        state, why = states[name]
        line = Text.assemble(_words(name), "  ", (state, COLOURS[state]), f" ({why})" if why else "")
        nodes[name] = above.add(line)
    return root


def plain(stages: Mapping[str, Stage], states: Mapping[str, State]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {"stage": name, "state": states[name].state, "why": states[name].why, "after": stage.after}
        for name, stage in stages.items()
    ]


def _expanded(
    written: Mapping[str, Any], variables: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[list[str], list[str]]]]:
    """Each stage of a `foreach`, with its placeholders filled in."""
    for name, stage in written.items():
        if "foreach" not in stage:
            yield name, _paths(stage, variables)
            continue
        for key, item in variables[stage["foreach"][2:-1]].items():
            values = {**variables, "key": key, **{f"item.{part}": value for part, value in item.items()}}
            yield f"{name}@{key}", _paths(stage["do"], values)


def _paths(stage: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    def fill(path: str) -> str:
        return re.sub(r"\$\{([^}]+)\}", lambda found: str(values[found[1]]), path)

    return [fill(path) for path in stage.get("deps", ())], [fill(path) for path in stage.get("outs", ())]


def _reads(deps: list[str], outs: list[str]) -> bool:
    """Whether something that is read is made, or lies within what is made, or has that within itself."""
    ours = [dep for dep in deps if not Path(dep).is_absolute()]
    return any(os.path.commonpath((dep, out)) in (dep, out) for dep in ours for out in outs)


def _depth(name: str, after: Mapping[str, list[str]]) -> int:
    return 1 + max((_depth(other, after) for other in after[name]), default=0)


def _words(name: str) -> str:
    return name.replace("@", " ")


def _reason(changes: list[Any]) -> str:
    """The first of the paths that changed, and how many others did."""
    paths = {
        path: how
        for change in changes
        if isinstance(change, Mapping)
        for changed in change.values()
        for path, how in changed.items()
    }
    if not paths:
        return ", ".join(map(str, changes))
    (path, how), more = next(iter(paths.items())), len(paths) - 1
    return f"{how}: {path}" + (f" and {more} more" if more else "")
