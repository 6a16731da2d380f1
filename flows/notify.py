"""What people are told of a night, at the Apprise addresses (https://appriseit.com) in DOTFIELD_NOTIFY.

Addresses hold tokens, so they come from the environment alone, separated by spaces or lines."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from apprise import Apprise

from components.config.retrain import Event
from components.errors import UserError
from components.workspace.layout import NOTIFIED

ADDRESSES = "DOTFIELD_NOTIFY"


def tell(wanted: Collection[Event], event: Event, about: str, title: str, body: str) -> None:
    """Tell of an event, if it is wanted, each address once, however often this is called. `about` names what it
    happened to: the run of a flow, or a night's decision.

    Raises UserError, which does not repeat the addresses: one did not answer; those that did are not told again."""
    addresses = os.environ.get(ADDRESSES, "").split() if event in wanted else []
    failed = [address for address in addresses if not _tell_once(event, about, address, title, body)]
    if failed:
        raise UserError(f"{ADDRESSES}: {len(failed)} of {len(addresses)} addresses could not be told of {event!r}")


def _tell_once(event: Event, about: str, address: str, title: str, body: str) -> bool:
    """Whether the address was told, now or before."""
    marker = NOTIFIED / _file_name(about, event, address)
    marker.parent.mkdir(parents=True, exist_ok=True)
    try:
        marker.touch(exist_ok=False)  # of two processes that tell, one does
    except FileExistsError:
        return True
    sender = Apprise()
    if sender.add(address) and sender.notify(title=title, body=body):
        return True
    marker.unlink()
    return False


def _file_name(about: str, event: Event, address: str) -> Path:
    return Path(f"{about}-{event}-{hashlib.sha256(address.encode()).hexdigest()[:12]}")
