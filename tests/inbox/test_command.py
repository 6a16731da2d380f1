"""`dotfield inbox`: what became of the objects, for people and for programs."""

from __future__ import annotations

import json

from tests.inbox.conftest import Yard, label, picture


def test_it_says_what_was_refused_and_what_waits(yard: Yard, typed) -> None:
    yard.arrive("good", 1)
    yard.put("odd\x1b[31m.png", picture(2))
    yard.put("bad.png", b"GIF89a")
    yard.put("bad.json", label(1))
    yard.put("alone.png", picture(3))
    yard.ingest()
    code, said, _ = typed("inbox", "--json")
    values = json.loads(said)
    assert (code, values["taken"]) == (0, 2)
    assert {line["name"] for line in values["refused"]} == {"bad.png", "bad.json", "odd\x1b[31m.png"}
    assert [line["name"] for line in values["waiting"]] == ["alone.png"]
    _, said, _ = typed("inbox")
    assert said.startswith("2 objects taken, 3 refused, 1 waiting")
    assert "\x1b" not in said
    assert "has no label yet" in said


def test_options_are_listed_and_mistakes_named(yard: Yard, typed) -> None:
    _, said, _ = typed("inbox", "--options")
    assert "limits.pixels" in said
    code, _, errors = typed("inbox", "params/none.yaml")
    assert (code, errors) == (2, "dotfield: params/none.yaml: no such file\n")
