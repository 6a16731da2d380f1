"""Whether the candidate has seen held-out images: the same files, or copies of one picture."""

from __future__ import annotations

from pathlib import Path

from components.data.duplicates import find_copies, image_signature
from components.data.manifest import SCHEMA, Prepared, read_parquet
from components.export.export import find_prepared
from components.gate.accuracy import missing
from components.gate.held_out import Measured
from components.gate.policy import Leaks
from components.gate.verdict import Check
from components.runs.folder import Weights
from components.workspace.layout import Layout, PreparedPaths
from components.workspace.sources import hash_files

SEEN = ("train", "val")  # the validation images choose the epoch


def leaks(weights: Weights, measured: Measured, options: Leaks) -> Check:
    """Critical: none of the images of the candidate's training and validation splits is held out.

    Found by the hash of the file, and by perceptual hash (`components/data/duplicates.py`)."""
    prepared = _training_data(weights, options.data)
    if prepared is None:
        why = "the candidate's training images are not here; set leaks.data to the prepared data set"
        return missing("leaks", why, "critical" if options.required else "supporting")
    manifest = PreparedPaths(prepared.folder).manifest
    if weights.metadata.get("provenance", {}).get("manifest_sha256") not in (None, hash_files([manifest])):
        why = f"{prepared.folder} was made again after the candidate learned from it: its training images are unknown"
        return missing("leaks", why, "critical" if options.required else "supporting")
    rows = [row for row in prepared.rows if row.split in SEEN]
    files = read_parquet(PreparedPaths(prepared.folder).manifest, SCHEMA).column("sha256").to_pylist()
    held, ids = set(measured.files), measured.candidate.ids
    same = {row.id for row in rows if files[row.number] in held}
    seen = [image_signature(prepared.images[row.number]) for row in rows]
    copies = find_copies([*seen, *measured.signatures])
    across = {rows[i].id: ids[j - len(rows)] for i, j in copies if i < len(rows) <= j}
    found = sorted(same | across.keys())
    words = f"{len(found)} of {len(rows)} training images are held out" + (f": {', '.join(found[:3])}" if found else "")
    return Check("leaks", "critical", "fail" if found else "pass", float(len(found)), 0.0, words)


def _training_data(weights: Weights, data: Path | None) -> Prepared | None:
    """The prepared data from which a counter learned: those named, those of the study in which its file lies, or those
    of a study of that name here."""
    prepared = find_prepared(weights.file, weights.metadata, data)
    if prepared is not None:
        return prepared
    here = Layout(weights.metadata["study"]).prepared(weights.metadata["dataset"])
    return Prepared(here.folder) if here.manifest.exists() else None
