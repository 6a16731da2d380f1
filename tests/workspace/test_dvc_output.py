"""What a person reads of the lines of `dvc repro`; `tests/test_cli.py` reads those of DVC itself."""

from __future__ import annotations

from components.workspace.dvc_output import StageLines, is_from_dvc, is_hint

REPRO = """\
Stage 'params/b/dvc.yaml:resolve' didn't change, skipping
Running stage 'params/b/dvc.yaml:train@fixed-4':
> python -m components.stages.train b fixed-4
fixed-4, seed 0: epoch 1 of 7: loss 0.3
Updating lock file 'params/b/dvc.lock'

Stage 'params/b/dvc.yaml:evaluate@fixed-4' is cached - skipping run, checking out outputs
WARNING: 'out' is empty.

To track the changes with git, run:

\tgit add params/b/dvc.lock

To enable auto staging, run:

\tdvc config core.autostage true
Use `dvc push` to send your updates to remote storage.
"""


def test_stages_are_counted_hints_are_not_shown_and_unknown_lines_are() -> None:
    stage_lines = StageLines(total=14)
    assert [text for line in REPRO.splitlines() if (text := stage_lines(line)) is not None] == [
        "stage 2 of 14: train fixed-4",
        "fixed-4, seed 0: epoch 1 of 7: loss 0.3",
        "stage 3 of 14: evaluate fixed-4, from the cache",
        "WARNING: 'out' is empty.",
    ]


def test_the_hints_are_those_lines_alone() -> None:
    assert [line.strip() for line in REPRO.splitlines() if is_hint(line)] == [
        "To track the changes with git, run:",
        "git add params/b/dvc.lock",
        "To enable auto staging, run:",
        "dvc config core.autostage true",
        "Use `dvc push` to send your updates to remote storage.",
    ]


def test_what_a_stage_says_itself_is_told_from_what_dvc_says_of_it() -> None:
    own = "train: params/b/study.yaml: experiments.fixed: training.crop (512, 512) is larger than 3 images"
    failed = (
        "Running stage 'train@fixed':",
        "> python -m components.stages.train b fixed",
        own,
        "ERROR: failed to reproduce 'train@fixed': failed to run: python -m components.stages.train b fixed, exited 2",
    )
    assert [line for line in failed if not is_from_dvc(line)] == [own]
    refused = "ERROR: unexpected error - Forbidden", "Having any troubles? Hit us up at https://dvc.org/support, we"
    assert [is_from_dvc(line) for line in refused] == [False, True]
