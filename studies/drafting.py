"""Drafts a study for a model and a file of texts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimfront.studies.columns import Columns, read_columns
from slimfront.studies.errors import StudyError, nearest
from slimfront.studies.matching import places, telling
from slimfront.studies.reader import parse_text
from slimfront.studies.tables import SUFFIXES

TEMPLATE = Path(__file__).with_name("draft.yaml.jinja")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
PLAIN = re.compile(r"[A-Za-z_./][\w./-]*")
# What YAML reads as something else than a text.
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# Classes that are listed in a comment, at most, and characters of a name.
MANY, LONGEST = 20, 40
# Tokens that a word becomes, special ones included, roughly.
TOKENS_PER_WORD = 1.4


@dataclass(frozen=True)
class Place:
    """Where a model or a data set is: ``path`` or ``hub``, and which."""

    kind: str
    place: str


def draft_study(
    model: str,
    data: str,
    out: Path | None = None,
    *,
    text: str | None = None,
    label: str | None = None,
    text_pair: str | None = None,
    group: str | None = None,
    runtime: str = "openvino",
) -> tuple[Path, str]:
    """Return where a study goes, and its YAML with comments; nothing is looked up on a network.

    Args:
        model: A folder with a Transformers checkpoint, or a hub id.
        data: A CSV, TSV, JSON Lines or Parquet file, or a hub id.
        out: The file; ``NAME.yaml`` where None.
        text: Column of the text; found in a file where it is clear.
        label: Column of the label; likewise.
        text_pair: Column of the second text of a pair.
        group: Column whose rows stay in one split.
        runtime: The target.

    Raises:
        StudyError: there is no such model or file, or it is not clear which columns are meant.
    """
    checkpoint, source = _place(model, "--model"), _place(data, "--data")
    columns = None
    if source.kind == "path":
        columns = read_columns(Path(data).expanduser(), text, label, text_pair, group)
        text, label = columns.text, columns.label
    for option, name in (("--text", text), ("--label", label)):
        if name is None:
            hint = f"name the column with {option}"
            raise StudyError("a hub data set is not looked up", where=option, given=data, hint=hint)
    name = _slug((out or Path(data)).name.partition(".")[0])
    out = out or Path(f"{name}.yaml")
    config = _config(model) if checkpoint.kind == "path" else {}
    most = int(config.get("max_position_embeddings") or LENGTHS[-1])
    max_tokens = min(_length(columns.long) if columns else 128, most)
    found = _rendered(
        file=out,
        name=name,
        model=checkpoint,
        data=source,
        columns=columns,
        many=MANY,
        text=text,
        text_pair=text_pair,
        label=label,
        others=[scalar(name[:LONGEST]) for name in _others(config, columns)],
        labels=_as_trained(config, columns),
        group=group,
        train=_training(config, columns),
        runtime=runtime,
        max_tokens=max_tokens,
        tokens=min(_length(columns.usual) if columns else 32, max_tokens),
    )
    parse_text(found, str(out))
    return out, found


def _rendered(**values: object) -> str:
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)
    environment.filters["yaml"] = scalar
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(values)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def scalar(text: str) -> str:
    """Return a text as YAML that is read as this text."""
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    shown = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(shown)}"'


def _place(text: str, option: str) -> Place:
    path = Path(text).expanduser()
    if path.exists():
        return Place("path", text)
    if HUB_ID.fullmatch(text) and path.suffix.lower() not in SUFFIXES:
        return Place("hub", text)
    near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
    raise StudyError(
        "nothing is there",
        where=option,
        given=text,
        allowed="a path that exists, or a hub id",
        hint=f"did you mean {path.parent / near}?" if near else f"relative paths start at {Path.cwd()}",
    )


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64] or "study"


def _config(folder: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((Path(folder).expanduser() / "config.json").read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no configuration")
    except (OSError, ValueError):
        raise StudyError(
            "this folder holds no Transformers checkpoint",
            where="--model",
            given=folder,
            allowed="a folder with config.json and weights, or a hub id",
            hint="save the model there with its save_pretrained, or name a hub id",
        ) from None
    return found


def _training(config: dict[str, Any], columns: Columns | None) -> str:
    """Return how the dense model is to be had: as it is, where a head for as many classes was trained."""
    if not config:
        return "none"
    headed = any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ())
    classes = len(_classes(config)) or int(config.get("num_labels", 2))
    return "none" if headed and (columns is None or classes == len(columns.labels)) else "fine-tune"


def _as_trained(config: dict[str, Any], columns: Columns | None) -> list[str]:
    """Return the data's labels in the order of the checkpoint's classes; nothing where those have other names."""
    labels = columns.labels if columns else ()
    order = places(_classes(config), labels)
    return [labels[place] for place in order or ()]


def _others(config: dict[str, Any], columns: Columns | None) -> tuple[str, ...]:
    """Return what the checkpoint calls its classes where the data's labels, one for each, have other names."""
    names, labels = telling(_classes(config)), columns.labels if columns else ()
    alike = {name.casefold() for name in names} == {label.casefold() for label in labels}
    return () if alike or len(names) != len(labels) or len(names) > MANY else names


def _classes(config: dict[str, Any]) -> list[str]:
    """Return what the checkpoint calls its classes, in their order; nothing where it does not say."""
    named = config["id2label"] if isinstance(config.get("id2label"), dict) else {}
    numbered = {int(key): str(name) for key, name in named.items() if re.fullmatch("[0-9]{1,6}", key)}
    return [numbered[number] for number in sorted(numbered)]


def _length(words: int) -> int:
    wanted = words * TOKENS_PER_WORD + 2
    return next((length for length in LENGTHS if length >= wanted), LENGTHS[-1])
