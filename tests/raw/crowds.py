"""Two images in the layout of every published data set but ShanghaiTech: scene 0 and scene 1, dots to 0.01 px."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import savemat

from components.datasets.mall import REFERENCE
from tests.raw.tools import PARAMS, RAW, save_image, write_json

SIZE = (PARAMS.height, PARAMS.width)


def save_mat(path: Path, **content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content, do_compression=True)


def ucf_qnrf() -> None:
    for seed, half in enumerate(("Train", "Test")):
        dots = save_image(RAW / "ucf_qnrf" / half / f"img_000{seed + 1}.jpg", seed)
        save_mat(RAW / "ucf_qnrf" / half / f"img_000{seed + 1}_ann.mat", annPoints=dots.round(2))


def ucf_cc_50() -> None:
    for seed, number in enumerate((2, 11)):
        dots = save_image(RAW / "ucf_cc_50" / f"{number}.jpg", seed, "L")
        save_mat(RAW / "ucf_cc_50" / f"{number}_ann.mat", annPoints=dots.round(2))


def nwpu() -> None:
    for seed, (file, name) in enumerate((("train.txt", "0001"), ("val.txt", "3110"))):
        dots = save_image(RAW / "nwpu/images" / f"{name}.jpg", seed).round(2).tolist()
        boxes = [[x - 1, y - 1, x + 1, y + 1] for x, y in dots]
        content = {"img_id": f"{name}.jpg", "human_num": len(dots), "points": dots, "boxes": boxes}
        write_json(RAW / "nwpu/jsons" / f"{name}.json", content)
        (RAW / "nwpu" / file).write_text(f"{name} 1 2\n")
    save_image(RAW / "nwpu/images/4000.jpg", 2)
    (RAW / "nwpu/test.txt").write_text("4000 0 1\n")


def jhu() -> None:
    for seed, split in enumerate(("train", "val")):
        dots = save_image(RAW / "jhu" / split / "images" / f"000{seed + 1}.jpg", seed)
        lines = [f"{x} {y} 6 7 1 0\n" for x, y in np.floor(dots).astype(int).tolist()]
        (RAW / "jhu" / split / "gt").mkdir(parents=True, exist_ok=True)
        (RAW / "jhu" / split / "gt" / f"000{seed + 1}.txt").write_text("".join(lines))


def mall(root: Path = RAW / "mall", mask: np.ndarray | None = None, frames: tuple[int, ...] = (1, 2)) -> None:
    """Frame i shows scene i - 1; dots stand in the file for all frames up to the last one."""
    all_dots = [save_image(root / "frames" / f"seq_{number:06d}.jpg", number - 1).round(2) for number in frames]
    cells, counts = np.empty((1, max(frames)), object), np.zeros((max(frames), 1), np.uint8)
    for number in range(1, max(frames) + 1):
        dots = all_dots[frames.index(number)] if number in frames else np.zeros((0, 2))
        record = np.empty((1, 1), [("loc", "O")])
        record[0, 0] = (dots,)
        cells[0, number - 1], counts[number - 1] = record, len(dots)
    save_mat(root / "mall_gt.mat", frame=cells, count=counts)
    region = np.ones(SIZE, np.uint8) if mask is None else mask.astype(np.uint8)
    save_mat(root / "perspective_roi.mat", roi={"mask": region}, pMapN=(REFERENCE / perspective()) ** 2)


def perspective() -> np.ndarray:
    """Pixels per metre: people grow linearly from row to row."""
    return np.repeat(np.linspace(2, 9, SIZE[0])[:, None], SIZE[1], axis=1)


def worldexpo(root: Path = RAW / "worldexpo", corners: tuple = ((0, 0), (64, 0), (64, 48), (0, 48))) -> None:
    for seed, (half, scene) in enumerate((("train", "100156"), ("test", "104207"))):
        frame(root, half, scene, seed, corners)


def frame(root: Path, half: str, scene: str, seed: int, corners: tuple) -> None:
    """A frame of WorldExpo'10 with its dots, and its scene's region and perspective."""
    dots = save_image(root / f"{half}_frame" / f"{scene}_C09-0{seed}.jpg", seed).round(2)
    labels, polygon = root / f"{half}_label" / scene, np.array(corners, float)
    save_mat(labels / f"{scene}_C09-0{seed}.mat", point_position=dots, point_num=len(dots))
    save_mat(labels / "roi.mat", maskVerticesXCoordinates=polygon[:, :1], maskVerticesYCoordinates=polygon[:, 1:])
    save_mat(root / f"{half}_perspective" / f"{scene}.mat", pMap=perspective())


KINDS = (ucf_qnrf, ucf_cc_50, nwpu, jhu, mall, worldexpo)
