"""Write what a study says of each of its entries to a file of its own: `python -m components.stages.resolve STUDY`.

The other stages read these files and not study.yaml: so DVC runs again what reads an entry that changed, and nothing
else. What another study says (`extends`) and what is said once for all experiments is merged in; the defaults of kinds
are not filled in, since they are part of the kinds' code."""

from __future__ import annotations

import logging

from components.config.load import load_study
from components.workspace.dvc_yaml import check_entries
from components.workspace.layout import Layout
from components.workspace.processes import run_stage
from components.workspace.settings import write_settings

log = logging.getLogger(__name__)


def resolve(layout: Layout) -> None:
    """Raises UserError: see `load_study`, or the study has other entries than its dvc.yaml."""
    study = load_study(layout.params)
    check_entries(layout, study)
    counts = write_settings(study, layout)
    log.info("%s: %s", layout.params, ", ".join(f"{count} {family}" for family, count in counts.items()))


if __name__ == "__main__":
    run_stage(resolve)
