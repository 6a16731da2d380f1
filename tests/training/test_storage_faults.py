"""A storage that refuses in the middle of a training, and checkpoints on it that are damaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import fs

from components.errors import UserError
from components.training import ray_train
from components.training.checkpoints import STATE, newest_state, read_state, write_state
from components.training.ray_cluster import cluster, explain_failure
from tests import crowds
from tests.faulty_s3 import RESET, STALL, Proxy, proxy
from tests.training.test_ray_train import SIZES, SPLITS, assert_same, plain, trained

STORAGE = "s3://crowds/training"


@pytest.fixture
def refusing(s3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the S3 server, at which the environment points."""
    with proxy(os.environ["AWS_ENDPOINT_URL"]) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.address)
        yield running


def read(filesystem: fs.FileSystem, path: str) -> None:
    filesystem.open_input_stream(path).readall()


def write(filesystem: fs.FileSystem, path: str) -> None:
    with filesystem.open_output_stream(path) as file:
        file.write(b"2")


def delete(filesystem: fs.FileSystem, path: str) -> None:
    filesystem.delete_file(path)


@pytest.mark.parametrize(("method", "access"), [("GET", read), ("PUT", write), ("DELETE", delete)])
def test_a_storage_that_refuses_is_named_with_its_address_in_one_line(
    refusing: Proxy, s3, method: str, access: Callable[[fs.FileSystem, str], None]
) -> None:
    s3.put_object(Bucket="crowds", Key="training/run/state", Body=bytes(1000))
    refusing.fault = lambda asked, path: 403 if asked == method else 0
    filesystem, root = ray_train.open_filesystem(STORAGE)
    with pytest.raises(OSError, match=r"ACCESS_DENIED") as error:
        access(filesystem, f"{root}/run/state")
    text = explain_failure(error.value, STORAGE)
    assert text is not None
    assert text.startswith(f"DOTFIELD_STORAGE={STORAGE}: ")
    assert "\n" not in text
    assert 1 <= refusing.faults <= 10


@pytest.mark.parametrize("fault", [500, 503, RESET, STALL])
def test_a_storage_in_trouble_for_a_moment_is_asked_again(refusing: Proxy, s3, fault: int, tmp_path: Path) -> None:
    """Reading a checkpoint and writing one, while the first two requests fail."""
    filesystem, root = ray_train.open_filesystem(f"{STORAGE}/{fault}")
    write_state({"state": {"epoch": 1}}, tmp_path)
    for access in (
        lambda: fs.copy_files(str(tmp_path), f"{root}/checkpoint_1", destination_filesystem=filesystem),
        lambda: read_state(filesystem, f"{root}/checkpoint_1"),
    ):
        left = [fault] * 2
        refusing.fault = lambda method, path, left=left: left.pop() if left else 0
        found = access()
        assert not left
    assert found == {"state": {"epoch": 1}}


def test_a_disk_that_is_full_is_said_and_the_checkpoint_before_is_taken(
    mount_disk: Callable[[int], Path],
) -> None:
    small_disk = mount_disk(64)
    before, after = small_disk / "checkpoint_1", small_disk / "checkpoint_2"
    for folder in (before, after):
        folder.mkdir()
    write_state({"state": {"epoch": 1}}, before)
    with pytest.raises(OSError, match="No space left") as error:
        write_state({"state": {"epoch": 2, "model": torch.zeros(100_000)}}, after)
    assert explain_failure(error.value, str(small_disk)) == (
        f"[Errno 28] No space left on device: '{after}': free some space, then give the same command again; what is "
        "finished is kept"
    )
    filesystem, root = ray_train.open_filesystem(str(small_disk))
    found = newest_state(filesystem, root)
    assert found is not None
    assert found["state"]["epoch"] == 1


@pytest.mark.slow
def test_a_training_goes_on_after_a_refusal_and_after_its_last_checkpoint_was_damaged(
    refusing: Proxy, s3, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit. Every upload is refused once the third epoch is done."""
    monkeypatch.setattr(ray_train, "FAILURES", 1)
    made, plan = crowds.write(tmp_path, SIZES, SPLITS), crowds.plan(epochs=5)
    with cluster():

        def refuse(done: float, record: dict | None) -> None:
            if record and record["epoch"] == 3:
                refusing.fault = lambda method, path: 403 if method in ("PUT", "POST") else 0

        with pytest.raises(UserError, match=rf"^DOTFIELD_STORAGE={STORAGE}: .*the same command again"):
            trained(plan, made, STORAGE, refuse)
        refusing.fault = lambda method, path: 0
        last = max(states(s3))
        body = bytearray(s3.get_object(Bucket="crowds", Key=last)["Body"].read())
        body[len(body) // 2] ^= 1
        s3.put_object(Bucket="crowds", Key=last, Body=bytes(body))
        heard: list[float] = []
        whole = trained(plan, made, STORAGE, lambda done, record: heard.append(record["epoch"]) if record else None)
    assert f"passed over, for the one before it: {last.removesuffix(f'/{STATE}')}" in caplog.text.replace("crowds/", "")
    assert heard[0] > 1
    assert_same(whole, plain(plan, made))


def states(client: Any) -> list[str]:
    found = client.list_objects_v2(Bucket="crowds", Prefix="training/run/checkpoint_").get("Contents", [])
    return [item["Key"] for item in found if item["Key"].endswith(f"/{STATE}")]
