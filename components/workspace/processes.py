"""What the command lines of all stages share: names in, one clear line out for a mistake, an end with the parent."""

from __future__ import annotations

import errno
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable

import psutil

from components.config.study import Study, load_study
from components.errors import UserError
from components.workspace.layout import Layout

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
SHELLS = {"sh", "bash", "dash", "zsh", "fish"}


def run(stage: Callable[..., None], *names: str) -> None:
    """Run `python -m components.stages.<stage> STUDY [ENTRY]`: `stage` gets (study, layout, *entries).

    UserError is the user's, OSError the machine's: one line on stderr and exit code 2, without a traceback."""
    own_name = inspect.getmodulename(inspect.getfile(stage))  # not __module__: under `python -m` that is __main__
    if len(sys.argv) - 1 != len(names):
        sys.exit(f"usage: python -m components.stages.{own_name} {' '.join(name.upper() for name in names)}")
    _end_with_parent()
    try:
        layout = Layout(sys.argv[1])
        stage(load_study(layout.params), layout, *sys.argv[2:])
    except (UserError, OSError) as error:
        print(f"{own_name}: {in_words(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{own_name}: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def in_words(error: UserError | OSError) -> str:
    """What went wrong; of a full disk, also what to do."""
    if isinstance(error, OSError) and error.errno in FULL:
        return f"{error}: free some space, then give the same command again; what is finished is kept"
    return str(error)


def entry(entries: dict, name: str, where: str, study: Study):
    """The named entry of a section of the study. Raises UserError with the names that there are."""
    if name not in entries:
        raise UserError(f"{study.study}: {where} has no {name!r}; it has {', '.join(sorted(entries)) or 'none'}")
    return entries[name]


def _end_with_parent() -> None:
    """A killed `dvc repro` leaves its command running; this one watches the process that asked for it, and ends too."""
    parent = psutil.Process().parent()
    while parent and parent.name() in SHELLS and parent.parent():
        parent = parent.parent()
    if parent is None or parent.pid == 1:
        return

    def watch() -> None:
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
        print("the process that started this stage is gone: stopping", file=sys.stderr, flush=True)
        for child in psutil.Process().children(recursive=True):
            child.terminate()
        os._exit(143)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
