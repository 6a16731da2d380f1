"""`dotfield kinds`: every option of every kind, as the code has it."""

from __future__ import annotations

import json
from functools import partial

import pytest
import yaml

from components.config import plugins
from components.config.describe import STUDY_SCHEMAS, describe, describe_schema, find
from components.config.options import Choice


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch, typed):
    """Type `dotfield kinds ...` on a wide terminal: (exit code, standard output, standard error)."""
    monkeypatch.setenv("COLUMNS", "200")
    return partial(typed, "kinds")


@pytest.mark.parametrize("family", plugins.FAMILIES)
def test_every_kind_is_described_with_the_defaults_that_it_gets(family: str) -> None:
    """What is listed, written into a study, gives the same options as writing nothing."""
    for kind in plugins.kinds(family):
        said = describe(family, kind)
        assert said.summary
        required = [option.name for option in said.options if option.required]
        assert required == [
            name for name, each in plugins.options(family, kind).model_fields.items() if each.is_required()
        ]
        if required:
            continue
        written: dict = {}
        for option in said.options:
            *outer, name = option.name.split(".")
            inner = written
            for key in outer:
                inner = inner.setdefault(key, {})
            inner[name] = yaml.safe_load(option.default or "")
        chosen = plugins.resolve(family, Choice.model_validate({"kind": kind} | written), "test")
        assert chosen == plugins.resolve(family, Choice(kind=kind), "test")
        assert all(option.type != "anything" for option in said.options)


@pytest.mark.parametrize("family", plugins.FAMILIES)
def test_every_option_of_every_kind_has_a_meaning(family: str) -> None:
    without = [
        f"{kind}: {option.name}"
        for kind in plugins.kinds(family)
        for option in describe(family, kind).options
        if not option.meaning
    ]
    assert without == []


def test_every_option_of_a_study_has_a_meaning() -> None:
    found = {schema.__name__: describe_schema(schema) for schema in STUDY_SCHEMAS}
    assert [
        f"{name}.{option.name}" for name, options in found.items() for option in options if not option.meaning
    ] == []
    training = {option.name: option for option in found["Training"]}
    assert training["augmentation.scale"].default == "[1.0, 1.0]"
    assert training["epochs"] == (
        "epochs",
        "integer >= 0",
        False,
        "100",
        None,
        "how often each training image is seen; 0: the weights that the counter starts from are kept as they are",
    )
    assert [option.name for option in found["MapEntry"] if option.required] == ["dataset", "kernel"]


def test_types_and_bounds_are_in_the_words_of_yaml() -> None:
    options = {option.name: option for option in describe("density map", "mixture").options}
    assert options["shares"].type == "learned | equal | list of number >= 0"
    assert options["every"].type == "integer >= 1"
    assert options["optimiser.momentum"].type == "number >= 0, < 1"
    assert {option.name: option.type for option in describe("dataset", "shanghaitech").options}[
        "part"
    ] == "A | B | both"


def test_the_presets_are_told_apart() -> None:
    lr = next(option for option in describe("counter", "csrnet").options if option.name == "optimiser.lr")
    assert yaml.safe_load(lr.paper or "") == 5e-7
    assert yaml.safe_load(lr.default or "") == plugins.resolve("counter", Choice(kind="csrnet"), "test").optimiser.lr


def test_a_kind_is_found_with_or_without_its_family() -> None:
    assert find(("mcnn",)) == find(("counter", "mcnn")) == [("counter", "mcnn")]
    assert find(("density_map", "mixture")) == [("density map", "mixture")]
    assert [kind for _, kind in find(("drawn_map",))] == plugins.kinds("drawn map")


def test_the_command_lists_families_options_and_mistakes(kinds) -> None:
    code, out, _ = kinds()
    assert (code, "density map  frozen, generated" in out) == (0, True)
    code, out, _ = kinds("adaptive")
    assert (code, "sigma per mean distance to the neighbours" in out, "number > 0" in out) == (0, True, True)
    code, out, _ = kinds("--json", "counter", "mcnn")
    (mcnn,) = json.loads(out)["kinds"]
    assert (mcnn["family"], mcnn["kind"]) == ("counter", "mcnn")
    assert "optimiser.lr" in [option["name"] for option in mcnn["options"]]
    code, out, err = kinds("counter", "mixture")
    assert (code, out) == (2, "")
    assert err.startswith("dotfield: there is no kind or family 'mixture'; kinds by family:\n  counter: csrnet,")
