"""The model card of an exported run, as Markdown: its facts in words, its limits, and how to make it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.config import plugins
from components.config.options import Choice
from components.config.resolve import Kind, build_loss

Facts = dict[str, Any]
DIGITS = {"MAE": 1, "RMSE": 1, "bias": 1, "NAE": 3}
NOT_KNOWN = "not known"


def markdown(facts: Facts) -> str:
    """A card from what `components.export.facts.describe` gives and `file`: name, kind, bytes, sha256, difference."""
    run = facts["run"]
    parts = (
        [f"# {run['study']} / {run['experiment']}, seed {run.get('seed', NOT_KNOWN)}", "", *_purpose(facts)],
        ["## Network", "", *_network(facts["network"])],
        ["## Data", "", *_data(facts["data"], facts["objects"])],
        ["## Results", "", *_results(facts["results"], facts["objects"])],
        ["## Limits", "", *_limits(facts)],
        ["## How to make it again", "", *_again(facts)],
    )
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def summary(facts: Facts) -> str:
    """What the command prints: the file, and the errors on each part of the held-out images."""
    file, objects = facts["file"], facts["objects"]
    lines = [f"{file['name']}: {file['kind']}, {file['bytes'] / 1e6:.2f} MB; the model card is beside it"]
    for row in facts["results"]:
        lines.append(
            f"{_part(row)}, {row['number']} images: "
            + ", ".join(f"{title} {_estimate(row[title], digits)}" for title, digits in DIGITS.items())
        )
    return "\n".join(lines if facts["results"] else [*lines, *_results([], objects)])


def _purpose(facts: Facts) -> list[str]:
    file = facts["file"]
    return [
        f"Counts {facts['objects']} in a picture: the network maps it to a density map, whose sum is the count.",
        "",
        f"- File: `{file['name']}`, {file['kind']}, {file['bytes'] / 1e6:.2f} MB, SHA-256 `{file['sha256']}`",
        f"- Checked against the run on {file['images']} sizes: counts differ by at most {file['difference']:.1e} "
        f"of the {facts['objects']}",
        f"- Use: {file['use']}",
    ]


def _network(network: Facts) -> list[str]:
    lines = [
        f"- Counter: {_choice(network['counter'])}; {network['parameters']:,} parameters, stride {network['stride']}",
        f"- Learned from: {_target(network)}; loss {_choice(network['loss'])}",
        f"- Started from: {network['started_from'] or NOT_KNOWN}",
    ]
    if backbone := network["backbone"]:
        lines.append(f"- Backbone's weights: {backbone['source']}. Licence: {backbone['licence']}.")
        lines += [f"  {backbone['note']}"] if "note" in backbone else []
    return lines


def _target(network: Facts) -> str:
    """What the loss compared the predictions with."""
    choice = Choice.model_validate(network["loss"])
    if not build_loss(Kind(choice.kind, plugins.resolve("loss", choice, "loss"))).uses_density_map:
        return "the dots themselves"
    return f"{_choice(network['density_map'])} maps of {_choice(network['annotation'])} Gaussians"


def _data(data: Facts, objects: str) -> list[str]:
    source = f"{data['name']} ({data['kind'] or 'kind not known'}{_options(data['options'])})"
    lines = [
        f"- Data set: {source}" + (f", from {data['from']}" if data["from"] else ""),
        f"- Licence of the data: {data['licence']}",
        f"- Protocol: {data['split'] or NOT_KNOWN}"
        + (f" Seed of the split: {data['split_seed']}." if data["split_seed"] is not None else ""),
        "- Pictures: turned as EXIF says, RGB with 8 bits, " + _size(data["longest_side"]),
    ]
    for split, counts in data["splits"].items():
        numbers = f"{counts['images']} images"
        if counts["images"]:
            numbers += f" with {counts['fewest']} to {counts['most']} {objects}, {counts['mean']:.1f} on average"
        lines.append(f"- {split}: {numbers}")
    return lines


def _results(results: Sequence[Facts], objects: str) -> list[str]:
    if not results:
        return ["Not measured: the prepared data were not found where this file was made."]
    head = f"| images | number | {objects} per image | {' | '.join(DIGITS)} |"
    rows = [
        f"| {_part(row)} | {row['number']} | {row['people']:.1f} | "
        f"{' | '.join(_estimate(row[title], digits) for title, digits in DIGITS.items())} |"
        for row in results
    ]
    notes = (
        "Counted with this very file, each picture once as it is; in brackets the 95 % interval of a bootstrap over "
        "the images. Bias is the mean of predicted minus true counts; NAE is the mean of |error| / true count, over "
        "the images with anybody in them. The validation images chose the epoch, so their errors are slightly low."
    )
    return [head, f"|---|{'---:|' * (2 + len(DIGITS))}", *rows, "", notes]


def _limits(facts: Facts) -> list[str]:
    train, objects = facts["data"]["splits"].get("train", {}), facts["objects"]
    lines = [
        "- The intervals cover other images of the same data, not other cameras, places or training runs.",
        "- It gives an estimate of how many and roughly where. It detects no single one, and identifies nobody.",
        "- Where a wrong count can do harm, measure its errors on pictures of your own camera first.",
    ]
    if train.get("images"):
        lines.insert(
            1,
            f"- It learned from pictures with {train['fewest']} to {train['most']} {objects}; beyond that, and for "
            "other viewpoints, sizes of heads, light or weather, its errors are unknown.",
        )
    if side := facts["data"]["longest_side"]:
        lines.append(f"- Pictures with a side above {side} px are counted scaled down: small heads may vanish.")
    return lines


def _again(facts: Facts) -> list[str]:
    run, training = facts["run"], facts["training"]
    commit = training["commit"]
    checkout = f"git checkout {commit}" if commit else "# the commit is not known"
    lines = ["```", checkout, f"dotfield run {run['study']}", facts["file"]["command"], "```", ""]
    if training["uncommitted_changes"]:
        lines += ["The working tree had uncommitted changes when it was trained.", ""]
    chosen, epoch = training["validation"], NOT_KNOWN if training["epoch"] is None else training["epoch"]
    lines.append(
        f"Trained for {training['epochs']} epochs; these are the weights of epoch {epoch}"
        + (f", the best of {chosen['images']} validation images" if chosen else "")
        + "."
    )
    if versions := training["versions"]:
        lines.append("Made with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    return lines


def _part(row: Facts) -> str:
    return str(row["images"]) + (f", scene {row['scene']}" if row["scene"] else "")


def _choice(plain: Facts) -> str:
    """A kind and its options, without those of its optimiser."""
    return str(plain["kind"]) + _options(
        {key: value for key, value in plain.items() if key not in ("kind", "optimiser")}
    )


def _options(options: Facts) -> str:
    written = ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)
    return f" ({written})" if written else ""


def _size(longest_side: int | None) -> str:
    return "at their own size" if longest_side is None else f"scaled down to at most {longest_side} px"


def _estimate(numbers: Sequence[float] | None, digits: int) -> str:
    if numbers is None:
        return "-"
    value, low, high = (f"{number:.{digits}f}" for number in numbers)
    return f"{value} [{low}, {high}]"
