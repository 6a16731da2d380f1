"""One small finished study, from whose run files are exported."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests import projects

STUDY = {
    "study": "small",
    "title": "A small study",
    "datasets": {
        "crowd": {"source": {"kind": "synthetic", "images": 12, "height": 48, "width": 64}, "split": {"seed": 7}}
    },
    "maps": {"near": {"dataset": "crowd", "kernel": {"kind": "fixed", "sigma": 4}}},
    "experiments": {
        "refined": {
            "dataset": "crowd",
            "counter": {"kind": "mcnn"},
            "annotation": "near",
            "density_map": {"kind": "refined", "widths": [4, 4, 4, 4, 4]},
            "seeds": [3],
            "training": {"epochs": 1, "batch_size": 4},
        }
    },
    "publish": {"baseline": "refined"},
}


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that the stages made; training is one epoch of `fit` without Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        _, layout = projects.run_study(STUDY)
        return layout.run("refined", 3).folder.resolve()


@pytest.fixture(autouse=True, scope="package")
def _untraced() -> None:
    """Torch's log of its own tracing is as slow as the tracing, and pytest would record it."""
    logging.getLogger("torch.__trace").disabled = True
