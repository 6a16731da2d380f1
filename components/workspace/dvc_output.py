"""What `dvc repro` prints, for people: which stage of how many runs and what it says itself, without DVC's hints.

`dvc repro` goes through the stages of a pipeline in order, and says of each one that it runs it, that it restores its
outputs from the cache, or that it did not change. The sentences are those of DVC 3; a line that is not known here is
shown as it is."""

from __future__ import annotations

import re

STAGE = re.compile(
    r"(Running stage|Stage) '(?P<address>[^']+)'"
    r"(?P<state>:| is cached - skipping run, checking out outputs| didn't change, skipping)$"
)
HINTS = re.compile(
    r"To track the changes with git, run:$|\tgit add |To enable auto staging, run:$|\tdvc config core\.autostage true$"
    r"|Use `dvc push` to send your updates to remote storage\.$"
)
FAILURE = re.compile(r"ERROR: failed to (reproduce|run)|Having any troubles\? ")
BOOKKEEPING = re.compile(r"> python -m components\.stages\.|(Generating|Updating) lock file '[^']+'$")


def is_hint(line: str) -> bool:
    """Whether a line only says what could be done next with Git or DVC."""
    return HINTS.match(line) is not None


def is_from_dvc(line: str) -> bool:
    """Whether DVC says a line about a stage that ran, and not the stage itself."""
    return any(pattern.match(line) for pattern in (STAGE, HINTS, FAILURE, BOOKKEEPING))


def keep_results(lock: str, pipeline: str) -> str:
    """What DVC's hints say, once for all stages."""
    return f"to keep the record of this run, commit {pipeline} and {lock}; `dvc push` copies its results to a remote"


class StageLines:
    """Translates the lines of one `dvc repro` of a pipeline with `total` stages."""

    def __init__(self, total: int) -> None:
        self.total, self.number = total, 0

    def __call__(self, line: str) -> str | None:
        """What a person sees instead of this line; None for nothing. Stages that did not change are only counted."""
        if said := STAGE.match(line):
            self.number += 1
            name = said["address"].rpartition(":")[2].replace("@", " ")
            ending = {":": "", " is cached - skipping run, checking out outputs": ", from the cache"}.get(said["state"])
            return None if ending is None else f"stage {self.number} of {self.total}: {name}{ending}"
        return None if not line.strip() or is_hint(line) or BOOKKEEPING.match(line) else line
