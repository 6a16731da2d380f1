"""Where a registry may be, and what is said where there is none, or not all of one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.errors import UserError
from components.runs.registry import Registry


def test_an_address_may_be_a_file_url(tmp_path: Path) -> None:
    (tmp_path / "the registry").mkdir()
    Registry((tmp_path / "the registry").as_uri()).record({})
    assert len(Registry(str(tmp_path / "the registry")).history()) == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gs://bucket", "gs://bucket: must be a folder, a file:// or an s3:// address"),
        ("s3://", "s3://: write s3://BUCKET/PATH"),
        ("", "the empty address: must be a folder"),
    ],
)
def test_other_addresses_are_refused(address: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Registry(address)


def test_a_bucket_that_is_not_there_is_one_line(s3: Any) -> None:
    with pytest.raises(
        UserError, match=r"s3://nowhere/x/ledger: cannot be listed \(The specified bucket does not exist"
    ):
        Registry("s3://nowhere/x").current()


def test_a_file_is_no_registry(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is a file; a registry is a folder"):
        Registry(str(tmp_path / "file"))


def test_a_ledger_that_is_gone_is_not_an_empty_one(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    registry.record({})
    shutil.rmtree(tmp_path / "ledger")
    for question in (registry.current, lambda: registry.record({})):
        with pytest.raises(UserError, match=r"ledger: is gone, although current\.json names its entry 1"):
            question()


@pytest.mark.parametrize(
    "command", [("deployed",), ("history",), ("rollback", "--reason", "x"), ("count", "a.png", "--deployed")]
)
def test_a_folder_that_is_not_there_is_named_and_not_made(command: tuple[str, ...], tmp_path: Path, typed) -> None:
    code, _, error = typed(*command, "--registry", tmp_path / "typo")
    assert (code, error) == (2, f"dotfield: {tmp_path}/typo: there is no such registry; `dotfield deploy` makes one\n")
    assert not (tmp_path / "typo").exists()
