"""`dotfield completion`, and what the Tab key offers for studies, their entries, and kinds.

A shell asks at every Tab, so this imports nothing that takes time: files are read, but not checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

COMPLETE = "_DOTFIELD_COMPLETE"  # click gives completions where this environment variable is set


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, studies, experiments and kinds with the Tab key.

    For bash: eval "$(dotfield completion bash)" in ~/.bashrc; zsh alike; fish: dotfield completion fish | source."""
    from click.shell_completion import get_completion_class

    found, root = get_completion_class(shell), context.find_root()
    assert found is not None
    click.echo(found(root.command, {}, "dotfield", COMPLETE).source())


def complete_study(context: click.Context, argument: click.Parameter, incomplete: str) -> list[str]:
    """The names of studies."""
    return [name for name in _studies() if name.startswith(incomplete)]


def complete_experiment(context: click.Context, argument: click.Parameter, incomplete: str) -> list[str]:
    """STUDY/EXPERIMENT: the studies first, then the experiments of the one that is written."""
    study, slash, _ = incomplete.partition("/")
    names = [f"{study}/{name}" for name in _entries(study, "experiments")] if slash else [f"{s}/" for s in _studies()]
    return [name for name in names if name.startswith(incomplete)]


def complete_search(context: click.Context, argument: click.Parameter, incomplete: str) -> list[str]:
    """The searches of the study that the command line names."""
    return [name for name in _entries(context.params.get("study") or "", "searches") if name.startswith(incomplete)]


def complete_kind(context: click.Context, argument: click.Parameter, incomplete: str) -> list[str]:
    """Families, and the kinds of the family that is written before, or of all."""
    from components.config.families import FAMILIES, kinds

    written = [word.replace("_", " ") for word in context.params.get("words") or ()]
    families = [word for word in written if word in FAMILIES] or list(FAMILIES)
    names = [kind for family in families for kind in kinds(family)]
    heads = [] if written else [family.replace(" ", "_") for family in FAMILIES]
    return [name for name in dict.fromkeys((*heads, *names)) if name.startswith(incomplete)]


def complete_dataset(context: click.Context, argument: click.Parameter, incomplete: str) -> list[str]:
    """The kinds of data sets."""
    from components.config.families import kinds

    return [kind for kind in kinds("dataset") if kind.startswith(incomplete)]


def _studies() -> list[str]:
    from components.workspace.layout import PARAMS, STUDY_FILE

    return sorted(path.parent.name for path in PARAMS.glob(f"*/{STUDY_FILE}"))


def _entries(study: str, family: str) -> list[str]:
    """The names of a study's entries, with those that it takes over; none where a file cannot be read."""
    from components.workspace.layout import PARAMS, STUDY_FILE

    names: dict[str, Any] = {}
    read: set[str] = set()
    while study and study not in read:
        read.add(study)
        values = _read(PARAMS / study / STUDY_FILE)
        own = values.get(family)
        names = (own if isinstance(own, dict) else {}) | names
        study = str(values.get("extends") or "")
    return [name for name, entry in names.items() if entry is not None]


def _read(file: Path) -> dict[str, Any]:
    from components.config.yaml_text import parse

    try:
        values = parse(file.read_text())
    except (OSError, ValueError):  # UserError is one
        return {}
    return values if isinstance(values, dict) else {}
