"""Commands for whoever writes a study: a draft to begin with, and the schema that an editor checks it by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from slimfront.search.options import TARGETS, completing, listed
from slimfront.search.printing import say

SCHEMAS = ("study", "inspect", "compare", "remeasure", "rebuild", "rebuild-all", "verify")


def init(
    model: Annotated[str, typer.Option(help="A folder with a Transformers checkpoint, or a hub id.")],
    data: Annotated[str, typer.Option(help="A CSV, TSV, JSON Lines or Parquet file, or a hub id.")],
    text: Annotated[str | None, typer.Option(help="Column of the text; found in a file where it is clear.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the label; likewise.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column of the second text of a pair.")] = None,
    group: Annotated[str | None, typer.Option(help="Column whose rows stay in one split.")] = None,
    target: Annotated[
        str, typer.Option(help=f"The runtime: {listed(TARGETS)}.", autocompletion=completing(TARGETS))
    ] = TARGETS[0],
    out: Annotated[Path | None, typer.Option(help="The file to write; that of the data, in .yaml.")] = None,
) -> None:
    """Write a study with comments for a model and a file of texts."""
    from slimfront.studies.drafting import draft_study
    from slimfront.studies.errors import StudyError, no_such

    if target not in TARGETS:
        hint = "choose one of the allowed names"
        raise no_such("there is no such target", target, TARGETS, where="--target", hint=hint)
    columns = {"text": text, "label": label, "text_pair": text_pair, "group": group}
    place, study = draft_study(model, data, out, runtime=target, **columns)
    try:
        with place.open("x", encoding="utf-8") as stream:
            stream.write(study)
    except FileExistsError:
        raise StudyError("this is already there", where="--out", given=str(place), hint="name a new file") from None
    say(f"written; next: slimfront validate {place}")
    print(place)


def schema(
    of: Annotated[
        str,
        typer.Argument(
            help=f"Of the study file, or of what a command prints as JSON: {listed(SCHEMAS)}.",
            autocompletion=completing(SCHEMAS),
        ),
    ] = SCHEMAS[0],
) -> None:
    """Print a JSON Schema: of the study file, for editors, or of what a command prints."""
    from slimfront.search.schemas import schema_of

    print(json.dumps(schema_of(of), indent=1))
