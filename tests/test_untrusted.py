"""What no code of the project does with what others wrote: run it, unpickle it, or let it choose the reader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.config.load import load_study
from components.errors import UserError
from components.workspace import dvc_yaml
from components.workspace.layout import Layout
from tests import projects
from tests.conftest import ROOT

FILES = sorted(
    [
        ROOT / "dotfield.py",
        *(path for package in ("components", "flows", "benchmarks") for path in (ROOT / package).rglob("*.py")),
    ]
)
REFUSED = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"os.system", "os.popen", "eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle"}
HARMFUL = [
    "a;id",
    "a b",
    "$(id)",
    "`id`",
    "a\n",
    "a|b",
    "a&b",
    "../a",
    "-a",
    "a'",
    '"',
    "${study}",
    "A",
    "",
    "a" + "\0",
]


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            yield path.relative_to(ROOT), node


def calls() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Where each call stands, what is called, and its arguments by keyword, all as they are written."""
    for path, node in nodes():
        if isinstance(node, ast.Call):
            words = {word.arg: ast.unparse(word.value) for word in node.keywords if word.arg}
            yield f"{path}:{node.lineno}", ast.unparse(node.func), words


def test_nothing_imports_a_module_that_unpickles() -> None:
    imported = [
        (path, name)
        for path, node in nodes()
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([each.name for each in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    ]
    assert len(imported) > 1000
    assert [(path, name) for path, name in imported if name.partition(".")[0] in REFUSED] == []


def test_weights_and_arrays_are_loaded_without_objects() -> None:
    loads = [
        (place, words) for place, name, words in calls() if name in ("torch.load", "torch.hub.load_state_dict_from_url")
    ]
    assert loads
    assert [place for place, words in loads if words.get("weights_only") != "True"] == []
    assert [place for place, _, words in calls() if words.get("allow_pickle", "False") != "False"] == []


def test_nothing_runs_a_shell_or_text_as_code() -> None:
    assert [place for place, _, words in calls() if words.get("shell", "False") != "False"] == []
    assert [(place, name) for place, name, _ in calls() if name in CALLS] == []


def test_every_image_file_is_opened_as_one_of_the_known_formats() -> None:
    """Two open what the project itself has just made."""
    opened = [
        place.rpartition(":")[0] for place, name, words in calls() if name == "Image.open" and "formats" not in words
    ]
    assert sorted(path for path in opened if path.startswith("components")) == [
        "components/publish/embedded.py",
        "components/training/augment.py",
    ]


@pytest.mark.parametrize("name", HARMFUL)
@pytest.mark.parametrize("family", ["datasets", "maps", "experiments"])
def test_a_name_that_means_something_to_a_shell_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    values = projects.TINY | {family: projects.TINY[family] | {name: next(iter(projects.TINY[family].values()))}}
    with pytest.raises(UserError):
        projects.write_study(values)


def test_shell_lines_hold_names_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may have any letters: it stands among the dependencies."""
    monkeypatch.chdir(tmp_path)
    source = {"kind": "points", "root": "$(id); `id` && 'x'"}
    layout = projects.write_study(projects.TINY | {"datasets": {"crowd": {"source": source}}})
    text = dvc_yaml.pipeline(layout, load_study(layout.params))
    commands = [line.strip() for line in text.splitlines() if "cmd:" in line]
    assert {line.removeprefix("cmd: python -m components.stages.").partition(" ")[2] for line in commands} == {
        "${study}",
        "${study} ${key}",
    }
    assert "$(id)" in text
    assert Layout("tiny").params == layout.params
