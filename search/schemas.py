"""The JSON Schemas of the study file and of what commands print."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from slimfront.objectives.objective import OBJECTIVES
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.search.engines import ENGINES
from slimfront.search.inspect.documents import DOCUMENTS
from slimfront.search.samplers import SAMPLERS
from slimfront.spaces.criteria import CRITERIA
from slimfront.spaces.masks import MASKS
from slimfront.spaces.quantizers import QUANTIZERS
from slimfront.studies.errors import StudyError, nearest
from slimfront.studies.registry import Registry
from slimfront.studies.schema import Study

Json = dict[str, Any]
STUDY = "study"
# Keys whose values are the names of plug-ins.
NAMED: Mapping[tuple[str, str], Registry[Any]] = {
    ("TargetSpec", "runtime"): RUNTIMES,
    ("SparsitySpec", "criterion"): CRITERIA,
    ("BitsSpec", "quantizer"): QUANTIZERS,
    ("UnstructuredSpec", "mask"): MASKS,
    ("SearchSpec", "sampler"): SAMPLERS,
    ("SearchSpec", "engine"): ENGINES,
}


def schema_of(name: str) -> Json:
    """Return the JSON Schema of the study file, ``study``, or of what a command prints.

    Raises:
        StudyError: there is no such document.
    """
    if name == STUDY:
        return _study()
    if name not in DOCUMENTS:
        near, names = nearest(name, (STUDY, *DOCUMENTS)), ", ".join((STUDY, *DOCUMENTS))
        hint = f"did you mean {near!r}?" if near else None
        raise StudyError("there is no schema of this name", where="schema", given=name, allowed=names, hint=hint)
    return _described(DOCUMENTS[name])


def _study() -> Json:
    found = _described(Study)
    for (model, key), registry in NAMED.items():
        found["$defs"][model]["properties"][key]["enum"] = list(registry)
    found["properties"]["objectives"]["items"]["enum"] = list(OBJECTIVES)
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
