"""The model card of an exported point."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimfront.objectives.artifact import Artifact
from slimfront.search.export.exporter import Exported
from slimfront.search.front import Front, Point
from slimfront.search.inspect.table import summary
from slimfront.studies.limits import readable

Json = dict[str, Any]
EXAMPLE = """\
```python
{imports}

folder = "."  # this folder
{load}
{read}
print({labels}[{run}.argmax()])
```"""
AUTO_TOKENIZER = """\
tokenizer = AutoTokenizer.from_pretrained(folder)
batch = tokenizer("a text like yours", truncation=True, max_length={max_tokens}, return_tensors="{tensors}")"""
VERIFY = """\
`slimfront verify .` loads this folder in a fresh process and compares bytes, predictions and accuracy
with `record.json`. `examples.jsonl` holds the texts for it; delete it if they must not be shipped."""


@dataclass(frozen=True)
class Use:
    """How the files of a format are used.

    Attributes:
        name: The library's name in a card of Hugging Face form.
        title: What the runtime is called.
        versions: Packages whose versions are told.
        imports: The example's own imports.
        load: The lines that load ``model`` from ``folder``.
        run: The logits of ``batch``.
        read: The lines that make ``batch``.
        tensors: What the tokenizer makes: ``np`` or ``pt``.
        notes: What else is to be known of these files.
    """

    name: str
    title: str
    versions: tuple[str, ...]
    imports: str
    load: str
    run: str
    read: str = AUTO_TOKENIZER
    tensors: str = "np"
    notes: str = ""

    @property
    def auto(self) -> str:
        """The example's imports, with the tokenizer's."""
        return self.imports + ("\nfrom transformers import AutoTokenizer" if self.read == AUTO_TOKENIZER else "")


def model_card(source: Exported, record: Json, artifact: Artifact, use: Use) -> str:
    """Return the card in Hugging Face form: what was done, the measured numbers, the machine, an example."""
    example = EXAMPLE.format(
        imports=use.auto,
        load=use.load,
        read=use.read.format(max_tokens=record["max_tokens"], tensors=use.tensors),
        run=use.run,
        labels=repr(record["labels"]),
    )
    explained = _explained(source, artifact, use.title)
    if "exported" in record:
        explained = _measured_anew(source, record["exported"], artifact, use.title)
    return written(source, record["format"], use.name, use.versions, {**explained, "": use.notes}, example, VERIFY)


def written(
    source: Exported,
    to: str,
    library: str,
    packages: tuple[str, ...],
    explained: Mapping[str, str],
    example: str,
    verify: str,
) -> str:
    """Return a card of any format.

    Args:
        source: What was exported.
        to: The format.
        library: The library's name in a card of Hugging Face form.
        packages: Packages whose versions are told, beside those that every export depends on.
        explained: How each objective is to be read, by its name; under other names what else is to be known.
        example: An example of use.
        verify: How the folder is verified.
    """
    point, front = source.point, source.front
    versions = {name: importlib.metadata.version(name) for name in ("slimfront", *packages, "torch", "transformers")}
    told = [text for name, text in explained.items() if text and (name in front.objectives or name not in _KNOWN)]
    target = f" --target {source.moved.target}" if source.moved else ""
    lines = [
        *_head(source, library),
        "",
        *_measured(front, point),
        "",
        " ".join(told),
        "",
        f"Machine: {platform.machine()}, {platform.system()}. Versions: "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        f"Made by `slimfront export {_place(source.run.folder)}{target} --trial {point.trial} --to {to} --out DIR`.",
        *_section("Use", example),
        *_section("Verify", verify),
        *_section("The front", *_front(front, point.trial)),
        "",
    ]
    return "\n".join(lines)


def _place(folder: Path) -> str:
    """Return where a run is as seen from here; of one that is elsewhere the name, for paths tell of their owner."""
    place = os.path.relpath(folder)
    return folder.name if place.startswith(os.pardir) else place


def _section(title: str, *lines: str) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _head(source: Exported, library: str) -> list[str]:
    """Return what Hugging Face reads, the title, and what was done."""
    study, point = source.run.study, source.point
    origin = study.model.hub or study.model.package or study.model.path
    return [
        "---",
        f"library_name: {library}",
        "pipeline_tag: text-classification",
        *([f"base_model: {origin}"] if study.model.hub else []),
        "tags: [slimfront, compression]",
        "---",
        f"# {study.name}: trial {point.trial}",
        "",
        f"Compressed from {origin} by Slimfront: {summary(point.configuration) or 'dense'}.",
    ]


def _measured(front: Front, point: Point) -> list[str]:
    """Return the table of what was measured of a point."""
    head = ["| objective | measured | 95 % interval | measured again | dense model |", "|---|---|---|---|---|"]
    return [*head, *(_row(front, point, name) for name in front.objectives)]


def _front(front: Front, own: int) -> list[str]:
    """Return the table of a front."""
    head = f"| trial | {' | '.join(front.objectives)} | what was done |"
    rule = f"|---|{'---|' * len(front.objectives)}---|"
    return [head, rule, *(_line(front, other, own) for other in front.points)]


def _row(front: Front, point: Point, name: str) -> str:
    """Return the row of an objective."""
    unit, interval = front.units[name], point.intervals.get(name)
    shown = f"{readable(interval[0], unit)} – {readable(interval[1], unit)}" if interval else "exact"
    dense = readable(front.dense.values[name], unit)
    if name in front.dense.held_out:
        dense += f", on the held-out split {readable(front.dense.held_out[name], unit)}"
    return f"| {name} | {readable(point.values[name], unit)} | {shown} | {_again(point, name, unit)} | {dense} |"


def _again(point: Point, name: str, unit: str) -> str:
    """Return what was measured again after the search: on the held-out split, and in the tournament."""
    if name in point.final:
        low, high = (readable(end, unit) for end in point.final[name]["interval"])
        return f"{readable(point.final[name]['value'], unit)} ({low} – {high}), beside the front"
    if name not in point.held_out:
        return ""
    told = f"{readable(point.held_out[name], unit)} on the held-out split"
    if name in point.changes:
        low, high = point.changes[name]["interval"]
        told += f" (change from dense {point.changes[name]['value']:+.4f}, {low:+.4f} to {high:+.4f})"
    return told


def _line(front: Front, point: Point, own: int) -> str:
    """Return the row of a point of the front."""
    number = f"**{point.trial}**" if point.trial == own else str(point.trial)
    values = " | ".join(readable(point.values[name], front.units[name]) for name in front.objectives)
    return f"| {number} | {values} | {summary(point.configuration) or 'dense'} |"


_KNOWN = ("size", "download", "latency", "accuracy", "divergence")


def _explained(source: Exported, artifact: Artifact, title: str) -> dict[str, str]:
    """Return how each objective is to be read."""
    target = source.run.study.target
    files = ", ".join(f"`{name}`" for name in artifact.files)
    return {
        "size": f"Size counts the files that {title} loads ({files}).",
        "download": "Download counts the same files, each compressed with Zstandard at its default level.",
        "latency": f"Latency is the median of one request of {target.batch} × {target.length} on"
        f" {target.threads} thread(s), measured in interleaved runs with the dense model, whose own milliseconds it is"
        " scaled by.",
        "accuracy": "Accuracy is this file's own on the search split.",
        "divergence": "Divergence is the mean KL divergence from the dense model's predictions on the search split.",
    }


def _measured_anew(source: Exported, exported: Json, artifact: Artifact, title: str) -> dict[str, str]:
    """Return what was measured of files that the search did not measure, and how it differs from the front."""
    files, point = ", ".join(f"`{name}`" for name in artifact.files), source.point
    size, accuracy = exported["size"], exported["accuracy"]
    words = {
        "files": f"The table is of the files that the search measured, on {source.runtime}."
        f" This folder holds the same weights for {title}, {readable(size, 'byte')} ({files}), of which accuracy was"
        f" measured again on the search split, in a fresh process: **{accuracy:.4f}**"
    }
    if "accuracy" in point.values:
        words["files"] += f", {accuracy - point.values['accuracy']:+.4f} from the front's"
    words["files"] += ". Its latency was not measured."
    return words
