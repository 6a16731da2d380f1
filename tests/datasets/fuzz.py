"""An optional job: atheris looks for damaged files that reach new code of an importer, and fail.

    pip install "dotfield[fuzz]"
    python -m tests.datasets.fuzz coco --seconds 600 --corpus build/fuzz

What is tried, and what must hold, stands in `test_fuzz.py`. What reached new code is kept in the corpus, where the next
job goes on; an input that failed is kept there as `crash-*`, and its file's name as an argument tries it again."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

with atheris.instrument_imports(include=["components.datasets", "components.data"]):
    from tests.datasets.test_fuzz import KINDS, try_damaged

    for name in KINDS:
        importlib.import_module(f"components.datasets.{name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("inputs", nargs="*", type=Path, help="try these again, and nothing else")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()

    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def tried(data: st.DataObject) -> None:
        with TemporaryDirectory() as folder:
            try_damaged(options.kind, data, Path(folder))

    corpus = options.corpus / options.kind
    corpus.mkdir(parents=True, exist_ok=True)
    words = [f"-max_total_time={options.seconds}", f"-artifact_prefix={corpus}/", "-timeout=60"]
    atheris.Setup([sys.argv[0], *words, *map(str, options.inputs or [corpus])], tried.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
