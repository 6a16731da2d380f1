"""The raw data set that an inbox feeds: that of the study's experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.config.load import load_study
from components.config.options import Choice
from components.config.retrain import Retrain
from components.config.study import Study
from components.data.availability import dataset_options
from components.datasets.shared.halves import split_in_folders
from components.errors import UserError
from components.inbox.items import Naming
from components.workspace.layout import ACCEPTED, InboxPaths, Layout


@dataclass(frozen=True)
class RawSet:
    """A raw data set with what an inbox needs to know of it. `folder` is where accepted pictures go."""

    source: Choice
    options: Any  # of its kind
    naming: Naming
    folder: Path

    @property
    def root(self) -> Path:
        return Path(self.options.root)

    @property
    def accepted(self) -> Path:
        return self.root / ACCEPTED

    @property
    def halves(self) -> dict[str, Path]:
        """The folders of its halves, by split."""
        return {split: self.root / written for split, written in self.options.halves.given().items()}


def raw_set(settings: Retrain, study: Study) -> RawSet:
    """The data set of the experiment that is retrained. Raises UserError: there is no such experiment, seed or folder,
    or no inbox can feed this kind of data set."""
    where = f"{Layout(settings.study).params}: datasets"
    if (experiment := study.experiments.get(settings.experiment)) is None:
        raise UserError(f"experiment: {settings.study} has no {settings.experiment!r}; {', '.join(study.experiments)}")
    if settings.seed not in experiment.seeds:
        raise UserError(f"seed: {settings.experiment} has the seeds {list(experiment.seeds)}, not {settings.seed}")
    source, where = study.datasets[experiment.dataset].source, f"{where}.{experiment.dataset}.source"
    options = dataset_options(study.datasets[experiment.dataset], where)
    naming = Naming(source.kind, options, where)
    found = RawSet(source, options, naming, _folder(settings, options))
    half = split_in_folders(found.folder / "a", found.halves)
    if half not in (None, "train") or (half is None and "train" in found.halves):
        raise UserError(f"folder: {found.folder} is no folder of training images")
    return found


def open_raw_set(settings: Retrain) -> tuple[RawSet, InboxPaths]:
    """The raw data set of the settings' study, and the files in which its inbox is remembered."""
    return raw_set(settings, load_study(Layout(settings.study).params)), InboxPaths(settings.study)


def _folder(settings: Retrain, options: Any) -> Path:
    """Raises UserError for a folder that is not below the root."""
    written = PurePosixPath(settings.folder or options.halves.train or "")
    if written.is_absolute() or ".." in written.parts:
        raise UserError(f"folder: {settings.folder!r} does not lie below the data set's root")
    return Path(options.root) / written
