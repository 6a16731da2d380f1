"""From files to studies and back: YAML, `extends`, and the settings of each entry."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config.load import load_study, read_entry, settings, study_files
from components.config.search import Search
from components.config.study import Averaging, DatasetEntry, Experiment, MapEntry
from components.errors import UserError
from tests.config.test_study import SMALL
from tests.conftest import ROOT

SCHEMAS = {
    "averaging": Averaging,
    "datasets": DatasetEntry,
    "maps": MapEntry,
    "experiments": Experiment,
    "searches": Search,
}


def write(params: Path, name: str, **values: Any) -> Path:
    """`params/NAME/study.yaml` with the name as its `study` and `title`."""
    file = params / name / "study.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump({"study": name, "title": name} | values, sort_keys=False))
    return file


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A folder with the small study."""
    write(tmp_path, "small", **{key: SMALL[key] for key in SMALL if key not in ("study", "title")})
    return tmp_path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "is not YAML"),
        ("a:\n\tb", r"study\.yaml: is not YAML: line 2: found character .* cannot start any token$"),
        ("a: \0", r"is not YAML: unacceptable character[^\n]*$"),
        ("- a", "must be a mapping"),
        ("", "must be a mapping"),
        ("maps: {}\nmaps: {}", r"is not YAML: line 2: 'maps' stands twice$"),
        ("maps:\n  a: {kind: x}\n  b: 1\n  a: 2", r"is not YAML: line 4: 'a' stands twice$"),
        ("? [a]\n: 1", r"is not YAML: line 1: found unhashable key$"),
    ],
)
def test_files_that_are_no_study_are_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "study.yaml").write_text(content)
    with pytest.raises(UserError, match=said):
        load_study(tmp_path / "study.yaml")


def test_a_merged_mapping_may_merge_another_and_say_otherwise(tmp_path: Path) -> None:
    """YAML's loader puts what is merged among a mapping's own keys, where it is no key that stands twice."""
    study = deepcopy(SMALL) | {"training": "TRAINING"}
    study["experiments"] = {"fixed": SMALL["experiments"]["fixed"] | {"training": "OWN"}}
    text = yaml.safe_dump(study | {"searches": {}}, sort_keys=False)
    text = text.replace("training: OWN", "training: &own {<<: {epochs: 3}, epochs: 1}", 1)
    experiments, training = text.index("experiments:"), text.index("training: TRAINING")
    text = text[:training] + text[experiments:] + "training: {<<: *own, batch_size: 2}\n"
    (tmp_path / "study.yaml").write_text(text)
    found = load_study(tmp_path / "study.yaml")
    assert (found.training.epochs, found.experiments["fixed"].training) == (1, {"epochs": 1, "batch_size": 2})


def test_a_missing_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*no such file"):
        load_study(tmp_path / "nowhere" / "study.yaml")


def test_a_study_takes_over_what_it_extends_but_its_own_name_and_title(params: Path) -> None:
    small = load_study(params / "small/study.yaml")
    child = load_study(write(params, "child", extends="small"))
    assert (child.study, child.title, child.extends) == ("child", "child", "small")
    assert settings(child) == settings(small)
    assert child.publish == small.publish


def test_a_study_that_extends_another_must_have_a_title_of_its_own(params: Path) -> None:
    file = write(params, "child", extends="small")
    file.write_text("{study: child, extends: small}")
    with pytest.raises(UserError, match=r"child/study\.yaml: title: is missing$"):
        load_study(file)


def test_mappings_are_merged_and_lists_and_numbers_replaced_down_the_whole_chain(params: Path) -> None:
    write(params, "middle", extends="small", seeds=[1, 2], training={"crop": [8, 8]}, preset="paper")
    last = {"seeds": [3], "training": {"batch_size": 4}, "experiments": {"fixed": {"loss": {"kind": "bayesian"}}}}
    study = load_study(write(params, "child", extends="middle", **last))
    fixed, other = study.experiments["fixed"], study.experiments["other"]
    assert (fixed.seeds, other.seeds, fixed.preset, fixed.loss.kind) == ((3,), (3,), "paper", "bayesian")
    assert fixed.training == {"epochs": 5, "batch_size": 4, "crop": [8, 8]}
    assert other.training == {"epochs": 7, "batch_size": 4, "crop": [8, 8]}
    assert (fixed.title, fixed.counter.kind) == ("fixed", "mcnn")


def test_another_kind_replaces_the_options_of_the_first(params: Path) -> None:
    source = {"kind": "shanghaitech", "root": "data", "part": "A"}
    study = load_study(write(params, "child", extends="small", datasets={"crowd": {"source": source}}))
    assert study.datasets["crowd"].source.model_dump() == source
    write(params, "grandchild", extends="child", datasets={"crowd": {"source": {"part": "B"}}})
    study = load_study(params / "grandchild/study.yaml")
    assert study.datasets["crowd"].source.model_dump() == source | {"part": "B"}


def test_null_removes_what_the_other_study_has(params: Path) -> None:
    study = load_study(
        write(params, "child", extends="small", searches={"beta": None}, experiments={"other": None}, training=None)
    )
    assert (list(study.experiments), study.searches, study.experiments["fixed"].training) == (["fixed"], {}, {})


def test_null_for_what_the_other_study_does_not_have_is_a_mistake(params: Path) -> None:
    file = write(params, "child", extends="small", experiments={"fixd": None})
    with pytest.raises(UserError, match=r"child/study\.yaml: experiments\.fixd: must be a mapping of keys, not None$"):
        load_study(file)


def test_an_unknown_study_is_named_with_its_file(params: Path) -> None:
    file = write(params, "child", extends="smal")
    with pytest.raises(UserError) as error:
        load_study(file)
    missing = params / "smal/study.yaml"
    said = f"{file}: extends: there is no study 'smal' ({missing}); `dotfield studies` lists the studies"
    assert str(error.value) == said


@pytest.mark.parametrize("names", [("one",), ("one", "two"), ("one", "two", "three")])
def test_studies_that_extend_one_another_in_a_circle_are_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    files = [write(tmp_path, name, extends=names[(i + 1) % len(names)]) for i, name in enumerate(names)]
    with pytest.raises(UserError) as error:
        study_files(files[0])
    said = f"{files[-1]}: extends: {files[0]} extends this study in turn; remove one `extends`"
    assert str(error.value) == said


def test_a_mistake_is_named_in_the_file_in_which_it_is(params: Path) -> None:
    write(params, "middle", extends="small", training={"epoch": 3})
    with pytest.raises(UserError, match=r"middle/study\.yaml: training\.epoch: there is no such option"):
        load_study(write(params, "child", extends="middle"))


def test_the_files_of_a_study_are_all_that_it_extends(params: Path) -> None:
    small, middle = params / "small/study.yaml", write(params, "middle", extends="small")
    child = write(params, "child", extends="middle")
    assert study_files(child) == [child, middle, small]
    assert study_files(small) == [small]


def test_words_change_no_settings_and_numbers_do(params: Path) -> None:
    first = settings(load_study(params / "small/study.yaml"))
    words = {"fixed": {"title": "another", "published": "fixed_4"}}
    assert settings(load_study(write(params, "words", extends="small", experiments=words))) == first
    sigma = {"drawn": {"kernel": {"sigma": 5}}}
    changed = settings(load_study(write(params, "numbers", extends="small", maps=sigma)))
    assert changed["maps"]["drawn"]["kernel"] == {"kind": "fixed", "sigma": 5}
    assert {family for family in first if changed[family] != first[family]} == {"maps"}


def test_settings_have_every_family_and_no_defaults_of_kinds(params: Path) -> None:
    found = settings(load_study(write(params, "plain", extends="small", searches=None)))
    assert {family: list(entries) for family, entries in found.items()} == {
        "datasets": ["crowd"],
        "maps": ["drawn"],
        "experiments": ["fixed", "other"],
        "averaging": ["fixed", "other"],
        "searches": [],
    }
    assert found["experiments"]["fixed"] == {
        "dataset": "crowd",
        "counter": {"kind": "mcnn"},
        "annotation": "drawn",
        "density_map": {"kind": "identity"},
        "loss": {"kind": "squared_error"},
        "preset": "stable",
        "seeds": [0],
        "training": {"epochs": 5, "batch_size": 2},
    }


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROOT.glob("params/*/study.yaml")))
def test_every_entry_of_every_study_is_read_back_as_it_was(name: str, tmp_path: Path) -> None:
    study = load_study(ROOT / "params" / name / "study.yaml")
    for family, entries in settings(study).items():
        for key, values in entries.items():
            file = tmp_path / f"{family}-{key}.yaml"
            file.write_text(yaml.safe_dump(values))
            entry = study.experiments[key].averaging if family == "averaging" else getattr(study, family)[key]
            words = {"title": entry.title} if family == "experiments" else {}
            left_out = {"published": None, "averaging": Averaging()}
            expected = entry.model_copy(update=left_out) if words else entry
            assert read_entry(SCHEMAS[family], file, **words) == expected


def test_an_entry_that_was_not_written_says_which_stage_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"maps/drawn\.yaml: no such file; run the stage resolve first$"):
        read_entry(MapEntry, tmp_path / "maps/drawn.yaml")
