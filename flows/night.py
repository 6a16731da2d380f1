"""The steps of a night of retraining, each a function that also works without Prefect.

Every step may be done again: what it has done it finds, and goes on from there. The ledger of the registry says whether
a night's pictures were decided on; a file says whether all that follows a decision was done too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from components.config.load import load_options, load_study
from components.config.load import settings as study_settings
from components.config.retrain import Retrain
from components.export.export import export
from components.gate.decide import carry_out
from components.gate.judge import judge
from components.gate.policy import Policy
from components.gate.verdict import Verdict
from components.inbox import check as checking
from components.inbox import ingest as ingesting
from components.inbox.check import Checked
from components.inbox.held_out import HeldOut
from components.inbox.ingest import Ingested
from components.inbox.raw_set import RawSet, open_raw_set
from components.publish import history
from components.runs.folder import read_record
from components.runs.ledger import Entry
from components.runs.registry import Registry, registry_address
from components.stages.publish import preview
from components.workspace.atomic import write_atomically, write_lines
from components.workspace.layout import InboxPaths, Layout
from components.workspace.lock import exclusive_lock
from components.workspace.sources import hash_file
from flows import dvc, versions
from flows.notify import tell

Log = Callable[[str], None]
GO, NO_GO = "GO", "NO-GO"
# settings on which a decision rests, besides the registry
DECIDING = {"study", "experiment", "seed", "folder", "camera", "limits", "tolerance"}


@dataclass(frozen=True)
class Night:
    """What a night works with."""

    settings: Retrain
    raw: RawSet
    paths: InboxPaths

    @property
    def layout(self) -> Layout:
        return Layout(self.settings.study)

    @cached_property
    def registry(self) -> Registry:
        return Registry(registry_address(self.settings.registry))

    @cached_property
    def policy(self) -> Policy:
        return load_options(Policy, self.settings.gate)

    @property
    def key(self) -> str:
        """What a decision is about: the accepted pictures, how the experiment learns from them, what is asked of
        its counter, and in which registry; "" before the first picture."""
        if not self.raw.accepted.exists():
            return ""
        about = {
            "pictures": hash_file(self.raw.accepted),
            "experiment": self._experiment(),
            "settings": self.settings.model_dump(mode="json", include=DECIDING),
            "registry": self.registry.address,
            "gate": self.policy.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:20]

    def _experiment(self) -> list[dict[str, Any]]:
        """All that changes the experiment's numbers, of the study as it is now."""
        families, name = study_settings(load_study(self.layout.params)), self.settings.experiment
        experiment = families["experiments"][name]
        return [experiment, families["datasets"][experiment["dataset"]], families["maps"][experiment["annotation"]]]


def open_night(file: Path) -> Night:
    """Raises UserError: a mistake in the settings, the study or the gate's policy; there is no remote to push to, or
    the branch cannot be committed to."""
    settings = load_options(Retrain, file)
    night = Night(settings, *open_raw_set(settings))
    assert night.policy
    if settings.push:
        dvc.require_remote(f"{file}: push")
    if settings.branch:
        versions.require_branch(settings.branch)
    return night


@contextmanager
def lock(night: Night) -> Iterator[None]:
    """Keep other nights from the study, and from its pictures, during the block. Raises UserError: one has them."""
    pictures = hashlib.sha256(str(night.raw.root.resolve()).encode()).hexdigest()[:12]
    names = (f"retrain-{night.settings.study}", f"pictures-{pictures}")
    with exclusive_lock(names[0], wait=1), exclusive_lock(names[1], wait=1):
        yield


def ingest(night: Night) -> Ingested:
    """Take what is new in the inbox into the raw data set."""
    held_out = night.policy.held_out
    sources = [] if held_out is None else [(held_out.source, held_out.half)]
    return ingesting.ingest(night.settings, night.raw, night.paths, lambda: HeldOut(night.raw, sources))


def is_done(night: Night) -> bool:
    """Whether all of the accepted pictures were decided on, and nothing is left to do."""
    if not night.key:
        return True
    try:
        return bool(json.loads(night.paths.night.read_text())["done"] == night.key)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def record_nothing_new(night: Night, ingested: Ingested, facts: dict[str, Any]) -> str:
    """Write down, in the ledger and on its page, that there was nothing to do; how many objects wait. `facts` name the
    Prefect run, which has one such entry, however often this is called."""
    waiting = f"{len(ingested.waiting)} objects wait"
    decision = {"outcome": history.NOTHING_NEW, "reason": waiting, **facts}
    if not any(
        history.is_quiet(entry) and facts.items() <= entry.decision.items() for entry in night.registry.history()
    ):
        night.registry.record(decision)
    write_history(night)
    return waiting


def check(night: Night, ingested: Ingested) -> Checked:
    """The data report of the raw data set as a gate."""
    night.paths.new_version.unlink(missing_ok=True)  # of a night that was killed
    return checking.check_accepted(night.settings, night.raw, night.paths, ingested)


def version(night: Night, checked: Checked, log: Log) -> dict[str, Any]:
    """Keep this state of the raw data set as a version: what the ledger says of it."""
    root = night.raw.root
    md5 = versions.add(root, log)
    if night.settings.push:
        dvc.run(["push", str(versions.dvc_file(root))], log)
    write_lines(night.paths.new_version, checked.images)
    people = sum(image["people"] for image in checked.images)
    return {"version": md5, "images": len(checked.images), "new": checked.new, "people": people}


def stages(night: Night) -> list[dvc.Stage]:
    """The stages that the experiment's counter needs, its evaluation too, in their order."""
    return dvc.needed(night.layout, *(f"{stage}@{night.settings.experiment}" for stage in ("train", "evaluate")))


def keep_results(night: Night, done: list[dvc.Stage], data: dict[str, Any], log: Log) -> dict[str, Any]:
    """Push what the stages made, and commit the lock files, if told so: what the ledger says of it."""
    layout = night.layout
    if night.settings.push:
        dvc.run(["push", *(stage.address for stage in done)], log)
    dvc_lock = hash_file(layout.pipeline_lock)
    files = [*versions.files_of(night.raw.root), layout.params, layout.pipeline, layout.pipeline_lock]
    message = f"{night.settings.study}: {data['images']} images, version {data['version'][:12]}"
    commit = versions.commit_files(night.settings.branch, files, message) if night.settings.branch else None
    record = read_record(layout.run(night.settings.experiment, night.settings.seed)) or {}
    return {"dvc_lock": dvc_lock, "commit": commit, "ray": record.get("provenance", {}).get("fingerprint")}


def candidate(night: Night) -> Path:
    """The run's counter as the file that may be deployed, with its model card. Raises UserError: it does not count."""
    run = night.layout.run(night.settings.experiment, night.settings.seed)
    export(run.folder, night.paths.candidate)
    return night.paths.candidate


def gate(night: Night, file: Path) -> Verdict:
    """Compare the candidate with the counter in use, on pictures that neither was chosen by."""
    used = night.registry.current()
    return judge(
        file,
        night.registry.weights(used.counter) if used else None,
        night.policy,
        night.registry,
        str(night.settings.gate),
    )


def decided(night: Night) -> Entry | None:
    """The decision on these pictures that was made by a night which was killed after it."""
    entries = reversed(night.registry.history())
    return next((entry for entry in entries if entry.decision.get("night") == night.key), None)


def refuse(night: Night, reason: str, facts: dict[str, Any]) -> Entry:
    """Write down that nothing was deployed, before the gate was asked."""
    used = night.registry.current()
    before = used.counter if used else None
    return night.registry.record({"night": night.key, "outcome": NO_GO, "reason": reason, "before": before, **facts})


def deploy(night: Night, verdict: Verdict, facts: dict[str, Any], file: Path) -> Entry:
    """Do what the gate says with the candidate in `file`, unless it was done. Raises UserError: see `carry_out`."""
    return decided(night) or carry_out(verdict, night.registry, file, night.paths.card, {"night": night.key, **facts})


def publish(night: Night, log: Log) -> None:
    """The study's report, of what was run, and the page of all decisions; pushed and committed, if told so."""
    layout, branch = night.layout, night.settings.branch
    preview(layout)
    write_history(night)
    if night.settings.push:
        versions.keep_report(layout, log)
        if branch:
            versions.commit_files(branch, [layout.report_dvc], f"{night.settings.study}: report")


def write_history(night: Night) -> None:
    """The page of all decisions."""
    history.write_page(night.registry.history(), night.registry.address, night.layout.preview.history)


def notify(night: Night, entry: Entry) -> None:
    """Tell of a decision, once."""
    outcome, reason = entry.decision["outcome"], entry.decision["reason"]
    title = f"{night.settings.study}: {outcome}"
    tell(night.settings.notify, "deployed" if outcome == GO else "no-go", night.key, title, reason)


def finish(night: Night) -> None:
    """Write down that nothing is left to do for these pictures, with which the next ones are compared."""
    checking.keep_version(night.paths)
    write_atomically(night.paths.night, json.dumps({"done": night.key}).encode())
