"""Tables, figures and the report of a study: `python -m components.stages.publish STUDY`."""

from __future__ import annotations

import shutil

from components.config.load import load_study
from components.errors import UserError
from components.publish.results import not_run_note
from components.publish.study_report import collect_rows, write_study_report
from components.workspace.layout import Layout
from components.workspace.processes import run_stage


def publish(layout: Layout) -> None:
    """Write `published/`. Raises UserError for a study of which something was not run."""
    study = load_study(layout.params)
    rows = collect_rows(study, layout)
    if missing := not_run_note(rows):
        raise UserError(
            f"{layout.out}: {missing[0]} Run `dotfield run {study.study}` to its end first, or publish what there is "
            f"with `dotfield publish {study.study}`"
        )
    write_study_report(study, layout, rows)


def preview(layout: Layout) -> str:
    """Write what there is so far to a folder of its own, apart from DVC's output, and return the summary."""
    study = load_study(layout.params)
    shutil.rmtree(layout.preview.published, ignore_errors=True)
    write_study_report(study, layout.preview, collect_rows(study, layout))
    return layout.preview.summary.read_text()


if __name__ == "__main__":
    run_stage(publish)
