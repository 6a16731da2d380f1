"""Where a study's files lie: the only place that knows the pipeline's paths. All are relative to the project's root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PARAMS = Path("params")
OUT = Path("out")
DEMO = "demo"  # the study whose pipeline is the dvc.yaml at the root


@dataclass(frozen=True)
class Layout:
    study: str
    shown: str = "published"  # the folder of tables, figures and report

    @property
    def so_far(self) -> Layout:
        """The same files, with a place outside the pipeline for what is published by hand of a study half run."""
        return Layout(self.study, "so-far")

    @property
    def params(self) -> Path:
        return PARAMS / self.study / "study.yaml"

    @property
    def pipeline(self) -> Path:
        return Path("dvc.yaml") if self.study == DEMO else PARAMS / self.study / "dvc.yaml"

    @property
    def out(self) -> Path:
        return OUT / self.study

    def prepared(self, dataset: str) -> Path:
        """manifest.parquet, images/ (a pack), report.json and report.md: what was wrong with the data."""
        return self.out / "prepared" / dataset

    def maps(self, name: str) -> Path:
        """A pack of float32 maps (h, w), people per 4 x 4 px cell, by the manifest's numbers."""
        return self.out / "maps" / name

    def runs(self, experiment: str) -> Path:
        return self.out / "runs" / experiment

    def run(self, experiment: str, seed: int) -> Path:
        """params.yaml, manifest.json, metrics.csv, curves.png, predictions.png, best.safetensors, last.safetensors."""
        return self.runs(experiment) / f"seed-{seed}"

    def scores(self, experiment: str) -> Path:
        """One Parquet row per seed and test image."""
        return self.out / "scores" / f"{experiment}.parquet"

    def search(self, name: str) -> Path:
        """trials.parquet, best.yaml."""
        return self.out / "searches" / name

    @property
    def published(self) -> Path:
        """report.html, summary.txt, tables/, figures/."""
        return self.out / self.shown

    @property
    def results(self) -> Path:
        return self.published / "tables" / "results.md"

    @property
    def report(self) -> Path:
        return self.published / "report.html"

    @property
    def summary(self) -> Path:
        """The results as plain text, and where report and tables are: what a person sees at the end."""
        return self.published / "summary.txt"
