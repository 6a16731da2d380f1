"""The tree of stages: what stands below what, and how each stage stands."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from components.workspace import dag
from components.workspace.layout import Layout

PIPELINE = """
vars:
- {study: small}
- datasets: {crowd: {kind: synthetic}}
- experiments: {b-taking: {dataset: crowd, file: out/small/runs/a-long-name}, a-long-name: {dataset: crowd, file: x.py}}
stages:
  resolve: {cmd: r, deps: [study.yaml, /elsewhere/file], outs: ['out/${study}/settings']}
  prepare:
    foreach: ${datasets}
    do: {cmd: p, deps: ['out/${study}/settings/${key}.yaml', '${item.kind}.py'], outs: ['out/${study}/prepared/${key}']}
  train:
    foreach: ${experiments}
    do: {cmd: t, deps: ['out/${study}/prepared/${item.dataset}', '${item.file}'], outs: ['out/${study}/runs/${key}']}
  publish: {cmd: p, deps: ['out/${study}/runs', 'out/${study}/prepared'], outs: [out/small/published]}
"""
AFTER = {
    "resolve": [],
    "prepare@crowd": ["resolve"],
    "train@a-long-name": ["prepare@crowd"],
    "train@b-taking": ["prepare@crowd", "train@a-long-name"],
    "publish": ["prepare@crowd", "train@a-long-name", "train@b-taking"],
}


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.chdir(tmp_path)
    return Layout("demo")


def test_a_stage_comes_after_those_whose_outputs_it_reads() -> None:
    assert {name: stage.after for name, stage in dag.stages(PIPELINE).items()} == AFTER
    assert list(dag.stages(PIPELINE)) == list(AFTER)


def test_what_changed_is_stale_what_comes_after_it_waits_and_what_is_not_in_the_lock_never_ran(layout) -> None:
    layout.pipeline_lock.write_text(f"stages: {{{', '.join(f'{name}: x' for name in AFTER if name != 'publish')}}}")
    changes = {"prepare@crowd": ["changed command", {"changed deps": {"synthetic.py": "modified", "b.py": "deleted"}}]}
    assert dag.states(dag.stages(PIPELINE), layout, changes) == {
        "resolve": ("fresh", ""),
        "prepare@crowd": ("stale", "modified: synthetic.py and 1 more"),
        "train@a-long-name": ("waits", "for prepare crowd"),
        "train@b-taking": ("waits", "for prepare crowd"),
        "publish": ("never run", ""),
    }


def test_the_tree_is_at_most_80_columns_wide_and_loses_nothing(layout) -> None:
    layout.pipeline_lock.write_text(f"stages: {{{', '.join(f'{name}: x' for name in AFTER)}}}")
    stages = dag.stages(PIPELINE)
    long = "components/density_maps/learned/shared/a_file_with_a_rather_long_name_that_changed.py"
    states = dag.states(stages, layout, {"train@b-taking": [{"changed deps": {long: "modified"}}]})
    shown = io.StringIO()
    Console(file=shown, width=80).print(dag.tree("small", stages, states))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "small: 5 stages: 3 fresh, 1 stale, 1 waits"
    assert re.findall(r"── ((?:\w+ )?[\w-]+)", shown.getvalue()) == [
        "resolve",
        "prepare crowd",
        "train a-long-name",
        "train b-taking",
        "publish",
    ]
    joined = "".join(line.strip("│ ") for line in lines)
    assert long in joined
    assert lines[1].startswith("├── resolve")
    assert lines[-1].startswith("└── publish")
