"""The JSON Schemas of the study file and of what commands print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from slimfront.objectives.objective import OBJECTIVES
from slimfront.search.inspect.documents import DOCUMENTS
from slimfront.search.naming import NAMED
from slimfront.studies.errors import no_such
from slimfront.studies.schema import Study

Json = dict[str, Any]
STUDY = "study"


def schema_of(name: str) -> Json:
    """Return the JSON Schema of the study file, ``study``, or of what a command prints.

    Raises:
        StudyError: there is no such document.
    """
    if name == STUDY:
        return _study()
    if name not in DOCUMENTS:
        hint = "choose one of the allowed names"
        raise no_such("there is no schema of this name", name, (STUDY, *DOCUMENTS), where="schema", hint=hint)
    return _described(DOCUMENTS[name])


def _study() -> Json:
    found = _described(Study)
    for path, registry in {**NAMED, ("objectives",): OBJECTIVES}.items():
        entry = found
        for key in path:
            entry = _resolved(found, entry)["properties"][key]
        entry.get("items", entry)["enum"] = list(registry)
    return found


def _resolved(schema: Json, entry: Json) -> Json:
    """Return what an entry refers to, whether it may be absent or not; the entry itself where it refers to nothing."""
    references = [part["$ref"] for part in (entry, *entry.get("anyOf", ())) if "$ref" in part]
    found: Json = schema["$defs"][references[0].rpartition("/")[2]] if references else entry
    return found


def _described(model: type[BaseModel]) -> Json:
    """Return a model's schema in which each key is described as the docstring does."""
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    parts = {part.__name__: part for part in _parts(model, set())}
    for name, entry in {model.__name__: found, **found.get("$defs", {})}.items():
        text, keys = _docstring(parts[name])
        entry["description"] = text
        for key, told in keys.items():
            if key in entry.get("properties", {}):
                entry["properties"][key]["description"] = told
    return found


def _parts(annotation: Any, seen: set[type]) -> Iterator[type[BaseModel]]:
    """Yield every model that an annotation holds, once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        yield annotation
        for field in annotation.model_fields.values():
            yield from _parts(field.annotation, seen)
    for part in getattr(annotation, "__args__", ()):
        yield from _parts(part, seen)


def _docstring(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of a model and of its attributes, those of its bases included."""
    keys: dict[str, str] = {}
    for base in reversed(model.__mro__):
        section = (base.__doc__ or "").partition("Attributes:")[2] if issubclass(base, BaseModel) else ""
        keys |= {key: _plain(told) for key, told in re.findall(r"^ {8}(\w+): (.*(?:\n {9,}.*)*)", section, re.M)}
    return _plain((model.__doc__ or "").partition("Attributes:")[0]), keys


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "")
