"""Where files lie, and what they are called: the only place that knows. Paths are relative to the project's root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PARAMS = Path("params")
OUT = Path("out")
STATE = Path(".dotfield")  # locks, logs, and the state of unfinished work unless DOTFIELD_STORAGE says otherwise
NOTIFIED = STATE / "notified"  # an empty file for each thing that was told
LOCK_FILE = Path("requirements.lock")
DEPLOYMENTS = Path("prefect.yaml")
SERVER_HOME = STATE / "prefect"  # what `make serve` keeps: its database, unless the environment names one
SERVER_AUTH = SERVER_HOME / "auth"  # USER:PASSWORD, for this user alone
SERVED = STATE / "served.yaml"  # the deployments as they are served: the schedules of some may be paused
SERVER_LOG = STATE / "logs" / "prefect-server.log"
DVC_CONFIG = Path(".dvc/config")
REMOTE = "storage"  # the name of DVC's remote
DEMO = "demo"  # the study whose pipeline is the dvc.yaml at the root
STUDY_FILE = "study.yaml"
RETRAIN = PARAMS / "retrain.yaml"
ACCEPTED = "accepted.jsonl"  # in the root of a raw data set: a line for each picture that came from an inbox
REGISTRY = Path("registry")  # of deployed counters, unless DOTFIELD_REGISTRY names another folder or s3:// address
CACHED_COUNTERS = STATE / "counters"  # those of a registry on S3, by hash
NODE_CACHE = Path("~/.cache/dotfield")  # of the nodes of a cluster, unless DOTFIELD_CACHE names another folder
GATE = PARAMS / "gate.yaml"  # when a counter is good enough to be deployed


def diverged_batch(run: str, rank: int) -> Path:
    """The images (B, 3, H, W) uint8, and their numbers, that a worker saw when a run diverged: for torch.load."""
    return STATE / "diverged" / f"{run}-{rank}.pt"


def hung_worker(run: str, rank: int) -> Path:
    """Where each thread of a worker was when it had done nothing for too long."""
    return STATE / "hung" / f"{run}-{rank}.txt"


class NodeDataPaths(NamedTuple):
    """What a training reads, on a node of a cluster."""

    prepared: Path
    maps: Path

    @classmethod
    def below(cls, folder: Path) -> NodeDataPaths:
        return cls(folder / "prepared", folder / "maps")


@dataclass(frozen=True)
class PreparedPaths:
    """One prepared data set. `images` and `regions` are packs; the two reports hold the same."""

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.parquet"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def regions(self) -> Path:
        return self.folder / "regions"

    @property
    def report_json(self) -> Path:
        return self.folder / "report.json"

    @property
    def report_markdown(self) -> Path:
        return self.folder / "report.md"


@dataclass(frozen=True)
class RunPaths:
    """One trained run: an experiment with one seed."""

    folder: Path

    @property
    def record(self) -> Path:
        """What the run is and how it went, as JSON: written last, so a folder that has it is complete."""
        return self.folder / "run.json"

    @property
    def metrics(self) -> Path:
        """A row for each epoch."""
        return self.folder / "metrics.csv"

    @property
    def best(self) -> Path:
        """Weights of the epoch with the smallest MAE on the validation images."""
        return self.folder / "best.safetensors"

    @property
    def last(self) -> Path:
        return self.folder / "last.safetensors"

    @property
    def curves(self) -> Path:
        return self.folder / "curves.png"

    def logs(self, logger: str) -> Path:
        """What one kind of `components/training/loggers` writes while the run trains."""
        return self.folder / "logs" / logger

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.png"


@dataclass(frozen=True)
class SearchPaths:
    """One search over an experiment's options."""

    folder: Path

    @property
    def trials(self) -> Path:
        return self.folder / "trials.parquet"

    @property
    def best(self) -> Path:
        return self.folder / "best.yaml"


class RegistryNames:
    """What lies below the address of a registry, a folder or s3:// prefix: paths from there."""

    CURRENT = "current.json"
    PREVIOUS = "previous.json"
    LEDGER = "ledger"  # an object for each decision, by its number
    LOCK = ".lock"  # of a folder

    @staticmethod
    def weights(counter: str) -> str:
        """The weights file of a counter, by its SHA-256."""
        return f"counters/{counter}/counter.safetensors"

    @staticmethod
    def card(counter: str) -> str:
        return f"counters/{counter}/card.md"

    @staticmethod
    def answers(held_out: str) -> str:
        """An object for each answer of the gate that was got from these held-out images."""
        return f"answers/{held_out}"


@dataclass(frozen=True)
class InboxPaths:
    """What is known on this machine of the inbox of one study."""

    study: str

    @property
    def folder(self) -> Path:
        return STATE / "inbox" / self.study

    @property
    def seen(self) -> Path:
        """A line for each object that was looked at. Without it, all are fetched again, and nothing else changes."""
        return self.folder / "seen.jsonl"

    @property
    def waiting(self) -> Path:
        """The objects that the last night left for the next one."""
        return self.folder / "waiting.jsonl"

    @property
    def undecided(self) -> Path:
        """The objects that were taken or refused since the last decision, a line each."""
        return self.folder / "undecided.jsonl"

    @property
    def version(self) -> Path:
        """The images of the last version of the raw data set that was decided on, a line each."""
        return self.folder / "version.jsonl"

    @property
    def new_version(self) -> Path:
        """The same of the version that a night made, until it is decided on."""
        return self.folder / "new-version.jsonl"

    @property
    def report(self) -> Path:
        """The last check of the raw data set, as JSON."""
        return self.folder / "check.json"

    @property
    def candidate(self) -> Path:
        """The counter that the last night made."""
        return self.folder / "candidate.safetensors"

    @property
    def card(self) -> Path:
        """The candidate's model card."""
        return self.folder / "candidate.safetensors.md"

    @property
    def night(self) -> Path:
        """The pictures for which nothing is left to do, as JSON."""
        return self.folder / "night.json"


@dataclass(frozen=True)
class Layout:
    """The files of one study."""

    study: str
    shown: str = "published"  # the folder of tables, figures and report

    @property
    def preview(self) -> Layout:
        """The same study, with a folder outside the pipeline for the tables of what was run so far."""
        return Layout(self.study, "preview")

    @property
    def params(self) -> Path:
        return PARAMS / self.study / STUDY_FILE

    @property
    def pipeline(self) -> Path:
        return Path("dvc.yaml") if self.study == DEMO else PARAMS / self.study / "dvc.yaml"

    @property
    def pipeline_lock(self) -> Path:
        return self.pipeline.with_name("dvc.lock")

    @property
    def out(self) -> Path:
        return OUT / self.study

    @property
    def all_settings(self) -> Path:
        return self.out / "settings"

    @property
    def resolved_params(self) -> Path:
        """All settings in one file, for DVC to show and to compare."""
        return self.all_settings / "params.yaml"

    def settings(self, family: str, name: str) -> Path:
        """What the study says of one entry of a family, such as datasets or experiments, and nothing else."""
        return self.all_settings / family / f"{name}.yaml"

    def prepared(self, dataset: str) -> PreparedPaths:
        return PreparedPaths(self.out / "prepared" / dataset)

    def maps(self, name: str) -> Path:
        """A pack of float32 maps (h, w), people per 4 x 4 px cell, by the manifest's numbers."""
        return self.out / "maps" / name

    def runs(self, experiment: str) -> Path:
        """A folder for each seed."""
        return self.out / "runs" / experiment

    def run(self, experiment: str, seed: int) -> RunPaths:
        return RunPaths(self.runs(experiment) / f"seed-{seed}")

    def scores(self, experiment: str) -> Path:
        """A Parquet row for each seed and test image."""
        return self.out / "scores" / f"{experiment}.parquet"

    def search(self, name: str) -> SearchPaths:
        return SearchPaths(self.out / "searches" / name)

    @property
    def published(self) -> Path:
        return self.out / self.shown

    @property
    def tables(self) -> Path:
        return self.published / "tables"

    @property
    def figures(self) -> Path:
        return self.published / "figures"

    @property
    def dark_figures(self) -> Path:
        """The same files as in `figures`, for a dark page."""
        return self.figures / "dark"

    @property
    def report(self) -> Path:
        return self.published / "report.html"

    @property
    def metrics(self) -> Path:
        """The main figures of each experiment, for DVC to show and to compare."""
        return self.published / "metrics.json"

    @property
    def summary(self) -> Path:
        """The results as plain text, and where report and tables are: what a person sees at the end."""
        return self.published / "summary.txt"

    @property
    def report_dvc(self) -> Path:
        """In which DVC notes the version of the report that a night of retraining pushed."""
        return self.params.with_name("report.dvc")

    @property
    def history(self) -> Path:
        """The page of all decisions on deployed counters."""
        return self.published / "history.html"

    def log(self, stage: str, *entries: str) -> Path:
        return STATE / "logs" / self.study / f"{'-'.join((stage, *entries))}.log"
