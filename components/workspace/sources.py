"""Which files of code each stage's results depend on: said here, once.

DVC's dependencies (`dvc_yaml.py`) and the fingerprint under which an unfinished run is resumed
(`components/runs/provenance.py`) are both made of this list. A name in braces is a kind that an experiment, a map or a
data set chooses: an experiment depends on the files of its own kinds, not on those of others. What only decides how
things are shown, called or filed (progress, paths, logging, words in a record) is left out: it changes no number.
The fingerprint also holds the versions of libraries, which no file of ours names: when one is updated a finished run
stays as it is, but an unfinished one is not continued.
`tests/workspace/test_sources.py` compares the list with what the stages import."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the code

KINDS = {
    "dataset": "components/datasets/{dataset}.py",
    "drawn map": "components/density_maps/drawn/{drawn_map}.py",
    "density map": "components/density_maps/learned/{density_map}.py",
    "counter": "components/counters/{counter}.py",
    "loss": "components/losses/{loss}.py",
}

IMPORTED_KINDS = {  # a kind's file that imports that of another kind
    "components/density_maps/learned/frozen.py": ("components/density_maps/learned/generated.py",),
}

PREPARED = (
    "components/crowd.py",
    "components/data/manifest.py",
    "components/data/packed.py",
    "components/data/regions.py",
)
NETWORKS = ("components/networks.py", "components/counters/shared", KINDS["counter"])
TRAINING = (
    *PREPARED,
    *NETWORKS,
    "components/config/options.py",
    "components/config/plugins.py",
    "components/config/resolve.py",
    "components/config/study.py",
    "components/density_maps/annotation.py",
    "components/density_maps/crops.py",
    "components/density_maps/gaussian.py",
    KINDS["drawn map"],
    "components/density_maps/learned/shared",
    KINDS["density map"],
    "components/losses/shared",
    KINDS["loss"],
    "components/evaluation/metrics/mae.py",
    "components/evaluation/metrics/rmse.py",
    "components/evaluation/score.py",
    "components/training/alarms.py",
    "components/training/assemble.py",
    "components/training/augment.py",
    "components/training/bilevel.py",
    "components/training/epoch.py",
    "components/training/fit.py",
    "components/training/joint.py",
    "components/training/optimisers.py",
    "components/training/ray_train.py",
    "components/training/samples.py",
)

CODE = {
    "resolve": (
        "components/config/load.py",
        "components/config/options.py",
        "components/config/search.py",
        "components/config/study.py",
        "components/config/yaml_text.py",
        "components/workspace/settings.py",
        "components/stages/resolve.py",
    ),
    "prepare": (
        *PREPARED,
        "components/config/plugins.py",
        "components/config/yaml_text.py",
        "components/data/decode.py",
        "components/data/duplicates.py",
        "components/data/prepare.py",
        "components/data/report.py",
        "components/data/split.py",
        "components/datasets/shared",
        KINDS["dataset"],
        "components/stages/prepare.py",
    ),
    "rasterize": (
        *PREPARED,
        "components/config/plugins.py",
        "components/density_maps/annotation.py",
        "components/density_maps/gaussian.py",
        KINDS["drawn map"],
        "components/stages/rasterize.py",
    ),
    "train": (
        *TRAINING,
        "components/runs/folder.py",
        "components/workspace/settings.py",
        "components/stages/train.py",
    ),
    "evaluate": (
        *PREPARED,
        *NETWORKS,
        "components/losses/shared",
        KINDS["loss"],
        "components/config/options.py",
        "components/config/plugins.py",
        "components/data/decode.py",
        "components/evaluation/score.py",
        "components/evaluation/scores.py",
        "components/runs/folder.py",
        "components/runs/predictor.py",
        "components/stages/evaluate.py",
    ),
    "search": (
        *TRAINING,
        "components/config/search.py",
        "components/training/ray_tune.py",
        "components/workspace/settings.py",
        "components/stages/search.py",
    ),
    "publish": ("components/evaluation", "components/publish", "components/stages/publish.py"),
}


def code_files(stage: str, kinds: Mapping[str, str]) -> list[Path]:
    """The Python files behind a stage's results; `kinds` gives a kind for each name in braces that the stage has."""
    entries = [entry.format_map(kinds) for entry in CODE[stage]]
    entries += [other for entry in entries for other in IMPORTED_KINDS.get(entry, ())]
    paths = [ROOT / entry for entry in entries]
    return sorted({file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])})


def hash_file(path: Path) -> str:
    """SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(files: Iterable[Path]) -> str:
    """SHA-256 of the hashes of the files' contents, in their order."""
    total = hashlib.sha256()
    for path in files:
        total.update(bytes.fromhex(hash_file(path)))
    return total.hexdigest()
