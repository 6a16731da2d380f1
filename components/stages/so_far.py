"""What there is of a study half run, published by hand: `python -m components.stages.so_far STUDY`.

No stage of the pipeline: it writes to a folder of its own, so that what DVC wrote, and knows of, stays as it is."""

from __future__ import annotations

import shutil

from components.config.study import Study
from components.stages.publish import look, write
from components.workspace.layout import Layout
from components.workspace.processes import run


def publish_so_far(study: Study, layout: Layout) -> None:
    """Write `so-far/`, as `published/` would be, and print the results with the experiments that were not run."""
    asked = [look(study, layout, name) for name in study.experiments]
    shutil.rmtree(layout.so_far.published, ignore_errors=True)
    write(study, layout.so_far, asked)
    print(f"\n{layout.so_far.summary.read_text()}")


if __name__ == "__main__":
    run(publish_so_far, "study")
