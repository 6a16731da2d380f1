"""Two images in the format of every annotation tool: `shot_1.jpg` is scene 0, `shot_2.jpg` scene 1; dots to 0.01 px."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from components.datasets.synthetic import Params, scene

RAW = Path(__file__).parent
PARAMS = Params(height=48, width=64, seed=7, low=3, high=20)
NAMES = ("shot_1.jpg", "shot_2.jpg")


def save_image(path: Path, seed: int, mode: str = "RGB") -> np.ndarray:
    """Save a scene and give its dots (N, 2)."""
    pixels, dots = scene(PARAMS, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)
    return dots


def shots(kind: str) -> dict[str, list[list[float]]]:
    """Save both images in the folder of a kind; give their dots by name."""
    return {name: save_image(RAW / kind / name, seed).round(2).tolist() for seed, name in enumerate(NAMES)}


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def points() -> None:
    rows = [f"{name},{x},{y}" for name, dots in shots("points").items() for x, y in dots]
    (RAW / "points/dots.csv").write_text("\n".join(["image,x,y", *rows]) + "\n")


def coco() -> None:
    all_dots = shots("coco")
    images = [{"id": number, "file_name": name} for number, name in enumerate(all_dots)]
    dots = [(number, x, y) for number, name in enumerate(all_dots) for x, y in all_dots[name]]
    annotations = [
        {"id": n, "image_id": image, "category_id": 0, "keypoints": [x, y, 2], "bbox": [x - 1, y - 2, 6, 8]}
        for n, (image, x, y) in enumerate(dots)
    ]
    categories = [{"id": 0, "name": "person", "keypoints": ["head"]}]
    content = {"images": images, "categories": categories, "annotations": annotations}
    write_json(RAW / "coco/annotations/instances.json", content)


def labelme() -> None:
    for name, dots in shots("labelme").items():
        shapes = [{"label": "head", "shape_type": "point", "points": [dot]} for dot in dots]
        write_json(RAW / "labelme" / f"{Path(name).stem}.json", {"shapes": shapes, "imagePath": name})


def cvat() -> None:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    for number, (name, dots) in enumerate(shots("cvat").items()):
        lines.append(f'  <image id="{number}" name="{name}" width="64" height="48">')
        several, last = ";".join(f"{x},{y}" for x, y in dots[:-1]), f"{dots[-1][0]},{dots[-1][1]}"
        lines += [f'    <points label="head" points="{each}">\n    </points>' for each in (several, last)]
        lines.append("  </image>")
    (RAW / "cvat/annotations.xml").write_text("\n".join([*lines, "</annotations>", ""]))


def label_studio() -> None:
    tasks = []
    for name, dots in shots("label_studio").items():
        size = {"original_width": 64, "original_height": 48}
        values = [{"x": x / 64 * 100, "y": y / 48 * 100, "width": 0.5, "keypointlabels": ["head"]} for x, y in dots]
        result = [{"type": "keypointlabels", "value": value} | size for value in values]
        data = {"image": f"/data/upload/3/0c9d1e2f-{name}"}
        tasks.append({"data": data, "annotations": [{"result": result, "was_cancelled": False}]})
    write_json(RAW / "label_studio/export.json", tasks)


def via() -> None:
    content = {}
    for name, dots in shots("via").items():
        shapes = [{"name": "point", "cx": x, "cy": y} for x, y in dots]
        regions = [{"shape_attributes": shape, "region_attributes": {"what": "head"}} for shape in shapes]
        content[f"{name}1234"] = {"filename": name, "size": 1234, "regions": regions, "file_attributes": {}}
    write_json(RAW / "via/via_region_data.json", content)


def dot_png() -> None:
    for number in (0, 1):
        dots = save_image(RAW / "dot_png" / f"00{number + 1}cell.png", number)
        marks = np.zeros((48, 64, 3), np.uint8)
        columns, rows = np.minimum(dots.astype(int), (63, 47)).T
        marks[rows, columns, 0] = 255
        Image.fromarray(marks).save(RAW / "dot_png" / f"00{number + 1}dots.png")


def yolo() -> None:
    for seed, split in enumerate(("train", "val")):
        dots = save_image(RAW / f"yolo/images/{split}/shot_{seed + 1}.jpg", seed).round(2).tolist()
        lines = [f"0 {x / 64:.8f} {y / 48:.8f} 0.5 1" for x, y in dots]
        labels = RAW / f"yolo/labels/{split}/shot_{seed + 1}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("\n".join([*lines, ""]))


KINDS = (points, coco, labelme, cvat, label_studio, via, dot_png, yolo)
