"""`params/retrain.yaml`: mistakes are named with what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.config.load import load_options
from components.config.retrain import Retrain
from components.errors import UserError
from components.workspace.layout import RETRAIN
from tests.conftest import ROOT
from tests.inbox.conftest import SETTINGS, STUDY, Yard


def test_the_file_of_the_project_is_right() -> None:
    assert load_options(Retrain, ROOT / RETRAIN).tolerance.refused == 0.25


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"inboxes": "a"}, "inboxes: there is no such option; allowed: inbox, study"),
        ({"camera": "("}, "camera: '(' is not a regular expression"),
        ({"camera": "cam"}, "camera: 'cam' has no group"),
        ({"settle": -1}, "settle: Input should be greater than or equal to 0"),
        ({"branch": "--force"}, "branch: String should match pattern"),
        ({"limits": {"shortest_side": 64, "longest_side": 32}}, "limits.shortest_side: is larger than longest_side"),
        ({"notify": ["gone"]}, "notify.0: Input should be 'failed', 'crashed', 'no-go' or 'deployed'"),
    ],
)
def test_a_mistake_names_the_key(values: dict, said: str, tmp_path: Path) -> None:
    file = tmp_path / "retrain.yaml"
    file.write_text(yaml.safe_dump(SETTINGS | values))
    with pytest.raises(UserError) as error:
        load_options(Retrain, file)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"experiment": "refined"}, "experiment: yard has no 'refined'; fixed"),
        ({"seed": 3}, "seed: fixed has the seeds [0], not 3"),
        ({"folder": "../other"}, "folder: '../other' does not lie below the data set's root"),
        ({"folder": "test"}, "folder: data/yard/test is no folder of training images"),
        ({"inbox": "https://a/b"}, "inbox: 'https://a/b' is neither a folder nor an address that begins with s3://"),
    ],
)
def test_what_the_study_does_not_have_is_named(values: dict, said: str, yard: Yard) -> None:
    (yard.raw.root / "test").mkdir()
    source = STUDY["datasets"]["yard"]["source"] | {"halves": {"test": "test"}}

    def night() -> None:
        yard.configure(STUDY | {"datasets": {"yard": {"source": source}}}, **values)
        yard.ingest()

    with pytest.raises(UserError) as error:
        night()
    assert said in str(error.value)
