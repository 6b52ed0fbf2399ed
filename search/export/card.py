"""The model card of an exported point."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from slimfront.search.export.exporter import Exported
from slimfront.search.inspect.table import summary
from slimfront.studies.limits import readable

EXAMPLE = """\
```python
{imports}
from transformers import AutoTokenizer

folder = "."  # this folder
{load}
tokenizer = AutoTokenizer.from_pretrained(folder)
batch = tokenizer("a gripping film", truncation=True, max_length={max_tokens}, return_tensors="np")
print({labels}[{run}.argmax()])
```"""


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
    """

    name: str
    title: str
    versions: tuple[str, ...]
    imports: str
    load: str
    run: str


def model_card(source: Exported, labels: Sequence[str], use: Use) -> str:
    """Return the card in Hugging Face form: what was done, the measured numbers, the machine, an example."""
    study, point, front = source.run.study, source.point, source.front
    origin = study.model.hub or study.model.package or study.model.path
    example = EXAMPLE.format(
        imports=use.imports, load=use.load, run=use.run, max_tokens=study.model.max_tokens, labels=repr(list(labels))
    )
    rows = []
    for name in front.objectives:
        unit = front.units[name]
        interval = point.intervals.get(name)
        shown = f"{readable(interval[0], unit)} – {readable(interval[1], unit)}" if interval else "exact"
        held_out = readable(point.held_out[name], unit) if name in point.held_out else ""
        if name in point.changes:
            low, high = point.changes[name]["interval"]
            held_out += f" (change from dense {point.changes[name]['value']:+.4f}, {low:+.4f} to {high:+.4f})"
        values = (
            readable(point.values[name], unit),
            shown,
            held_out,
            readable(front.dense.values[name], unit),
        )
        rows.append(f"| {name} | {' | '.join(values)} |")
    head = ["---", f"library_name: {use.name}", "pipeline_tag: text-classification", f"base_model: {origin}"]
    if not study.model.hub:
        head = head[:-1]
    versions = {
        name: importlib.metadata.version(name) for name in ("slimfront", *use.versions, "torch", "transformers")
    }
    return "\n".join(
        [
            *head,
            "tags: [slimfront, compression]",
            "---",
            f"# {study.name}: trial {point.trial}",
            "",
            f"Compressed from {origin} by Slimfront: {summary(point.configuration) or 'dense'}.",
            "",
            "| objective | measured | 95 % interval | held-out split | dense model |",
            "|---|---|---|---|---|",
            *rows,
            "",
            " ".join(text for name, text in _explained(source, use.title).items() if name in front.objectives),
            "",
            f"Machine: {platform.machine()}, {platform.system()}. Versions: "
            + ", ".join(f"{name} {version}" for name, version in versions.items())
            + ".",
            "",
            "## Use",
            "",
            example,
            "",
            "## Verify",
            "",
            "`slimfront verify .` loads this folder in a fresh process and compares bytes, predictions and accuracy",
            "with `record.json`. `examples.jsonl` holds the texts for it; delete it if they must not be shipped.",
            "",
        ]
    )


def _explained(source: Exported, title: str) -> dict[str, str]:
    """Return how each objective is to be read."""
    target = source.run.study.target
    files = ", ".join(f"`{name}`" for name in source.artifact.files)
    return {
        "size": f"Size counts the files that {title} loads ({files}).",
        "download": "Download counts the same files, each compressed with Zstandard at its default level.",
        "latency": f"Latency is the median of one request of {target.batch} × {target.length} on"
        f" {target.threads} thread(s), measured in interleaved runs with the dense model, whose own milliseconds it is"
        " scaled by.",
        "accuracy": f"Accuracy is this file's own on the search split ({len(source.predictions)} rows).",
        "divergence": "Divergence is the mean KL divergence from the dense model's predictions on the search split.",
    }
