"""Every kind of every family, and which options go before which."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from components.config import plugins
from components.config.options import Choice
from components.errors import UserError


@pytest.mark.parametrize("family", plugins.FAMILIES)
def test_a_kind_without_options_starts_from_defaults_or_names_what_is_missing(family: str) -> None:
    assert plugins.kinds(family)
    for kind in plugins.kinds(family):
        missing = [name for name, field in plugins.options(family, kind).model_fields.items() if field.is_required()]
        refused = pytest.raises(UserError, match=rf"test: {missing[0]}: is missing") if missing else nullcontext()
        with refused:
            plugins.resolve(family, Choice(kind=kind), "test")


def test_writing_one_option_of_an_optimiser_leaves_the_others_as_preset_or_default_have_them() -> None:
    written = Choice(kind="csrnet", weights="random", optimiser={"lr": 1e-6})
    paper = plugins.resolve("counter", written, "test", "paper")
    assert paper.optimiser.model_dump() == {"kind": "sgd", "lr": 1e-6, "momentum": 0.95, "weight_decay": 5e-4}
    stable = plugins.resolve("counter", Choice(kind="mcnn", optimiser={"weight_decay": 1e-4}), "test")
    assert stable.optimiser.lr == plugins.resolve("counter", Choice(kind="mcnn"), "test").optimiser.lr
