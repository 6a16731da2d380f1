"""How a stage ends: one line for a mistake and for a full disk, and what of its input is not there yet."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import ray

from components.config.study import load_study
from components.data.manifest import Prepared
from components.data.packed import keep
from components.runs.provenance import data_files
from components.stages.train import train
from components.training import ray_train
from components.workspace import processes
from components.workspace.layout import Layout
from tests import crowds
from tests.conftest import ROOT


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a stage that raises this: (exit code, standard error)."""

    def end(error: Exception) -> tuple[object, str]:
        def stage(study: object, layout: object) -> None:
            raise error

        monkeypatch.chdir(ROOT)
        monkeypatch.setattr("sys.argv", ["test_command", "demo"])
        monkeypatch.setattr(processes, "_end_with_parent", lambda: None)
        with pytest.raises(SystemExit) as end:
            processes.run(stage, "study")
        return end.value.code, capsys.readouterr().err

    return end


def test_a_mistake_is_one_line(ended) -> None:
    assert ended(ValueError("training.crop: 3")) == (2, "test_command: training.crop: 3\n")


def test_a_full_disk_is_one_line_that_says_what_to_do(ended) -> None:
    code, said = ended(OSError(errno.ENOSPC, "No space left on device", "out/data.npy"))
    assert code == 2
    assert said.startswith("test_command: [Errno 28] No space left on device: 'out/data.npy': free some space, then")
    assert said.count("\n") == 1


def test_training_before_its_data_are_prepared_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    study = load_study(ROOT / "params/demo/study.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"crowd is not prepared yet; run `components\.stages\.prepare`"):
        train(study, Layout("demo"), "fixed")


@pytest.mark.parametrize("address", ["ftp://host/path", "s3://bucket/%zz?"])
def test_a_storage_that_cannot_be_opened_is_named(address: str) -> None:
    with pytest.raises(ValueError, match=r"DOTFIELD_STORAGE: .*give a folder, or an address such as s3://bucket/path"):
        ray_train.opened(address)


def test_a_storage_in_the_home_folder_is_there() -> None:
    assert ray_train.opened("~/runs")[1] == str(Path.home() / "runs")


def test_maps_of_other_images_are_named(tmp_path: Path) -> None:
    prepared, maps = crowds.write(tmp_path, [(48, 64)] * 3, ["train", "val", "test"])
    keep(maps, [0, 1])
    with pytest.raises(ValueError, match=r"maps: holds 2 maps for the 3 images of .*prepared; run `rasterize` again"):
        data_files(prepared, maps)


def test_a_manifest_that_was_overwritten_in_part_is_named(tmp_path: Path) -> None:
    prepared, _ = crowds.write(tmp_path, [(48, 64)] * 3, ["train", "val", "test"])
    file = prepared / "manifest.parquet"
    written = file.read_bytes()
    file.write_bytes(written[:4] + bytes(len(written) // 2) + written[4 + len(written) // 2 :])
    with pytest.raises(ValueError, match=r"manifest\.parquet: is not whole"):
        Prepared(prepared)


def test_ray_that_does_not_start_is_one_line(monkeypatch) -> None:
    def slow(*address: str, **options: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", slow)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(OSError, match=r"Ray did not start .*timed out during startup.*same command again"),
        ray_train.cluster(),
    ):
        pass
