"""Says in plain words what pydantic finds wrong in a study, what is allowed and what to do."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from slimfront.studies.errors import StudyError, nearest, no_such
from slimfront.studies.schema import Study

# By pydantic's type of an error: what is wrong, and what is allowed.
WORDS: Mapping[str, tuple[str, str]] = {
    "int_type": ("this is no whole number", "a whole number"),
    "float_type": ("this is no number", "a number"),
    "finite_number": ("this is no finite number", "a finite number"),
    "bool_type": ("this is neither true nor false", "true, false"),
    "string_type": ("this is no text", "a text"),
    "string_pattern_mismatch": (
        "this is no such name",
        "up to 64 letters, digits, '.', '_' and '-', beginning with a letter or a digit",
    ),
    "tuple_type": ("this is no list", "a list"),
    "dict_type": ("this is no section of keys", "keys with values"),
    "model_type": ("this is no section of keys", ""),
    "too_short": ("these are too few", "{min_length} or more"),
    "greater_than": ("this is too small", "more than {gt}"),
    "greater_than_equal": ("this is too small", "{ge} or more"),
    "less_than": ("this is too large", "less than {lt}"),
    "less_than_equal": ("this is too large", "{le} or less"),
    "literal_error": ("there is no such choice", "{expected}"),
    "union_tag_invalid": ("there is no such choice", "{expected_tags}"),
    "union_tag_not_found": ("this key is missing", ""),
}
CURES = {
    "this is too small": "raise {}",
    "this is too large": "lower {}",
    "these are too few": "name more at {}",
    "this is no section of keys": "write each key on a line of its own below {}",
}
DURATIONS = ("budget", "timeout", "trial_timeout")
CHOICES = ("literal_error", "union_tag_invalid")
Path = tuple[str | int, ...]


def explained(error: ValidationError, data: Mapping[str, Any]) -> StudyError:
    """Return one message about the first of pydantic's errors, unknown keys first.

    Args:
        error: What pydantic found.
        data: The study as plain data.
    """
    errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    places = [_location(entry["loc"], data) for entry in errors]
    first, location = errors[0], places[0]
    # What stands in one place may be neither of several things.
    alike = [entry for entry, place in zip(errors, places, strict=True) if place == location]
    others = len(set(places)) - 1
    more = f" ({others} more after this one)" if others else ""
    if first["type"] == "extra_forbidden":
        return _unknown(location, more)
    if first["type"].startswith("union_tag"):
        location = (*location, first["ctx"]["discriminator"].strip("'"))
    where = ".".join(str(part) for part in location) or "study"
    if first["type"] in ("missing", "union_tag_not_found"):
        return StudyError(f"this key is missing{more}", where=where, hint=f"add {location[-1]!r} to the study")
    if first["type"] not in WORDS:
        message, _, cure = first["msg"].removeprefix("Value error, ").partition("; ")
        given = None if isinstance(first["input"], dict) else first["input"]
        return StudyError(f"{_readable(message)}{more}", where=where, given=given, hint=cure or f"change {where}")
    message = WORDS[first["type"]][0]
    given = first.get("ctx", {}).get("tag", first["input"])
    allowed = " or ".join(dict.fromkeys(_allowed(entry, location) for entry in alike))
    hint = CURES[message].format(where) if message in CURES else _cure(first["type"], given, allowed, where)
    return StudyError(f"{message}{more}", where=where, given=given, allowed=allowed, hint=hint)


def _unknown(location: Path, more: str) -> StudyError:
    where, hint = ".".join(str(part) for part in location), "remove the key or choose an allowed one"
    return no_such(f"there is no such key{more}", location[-1], _keys_at(location[:-1]), where=where, hint=hint)


def _readable(text: str) -> str:
    return text[:1].lower() + text[1:]


def _allowed(error: Any, location: Path) -> str:
    if error["type"] == "model_type":
        return f"the keys {', '.join(_keys_at(location))}"
    if error["type"] not in WORDS:
        return _readable(error["msg"])
    # A bound of 1.0 is 1, and choices are listed as names are elsewhere.
    told = {name: _plain(value) for name, value in error.get("ctx", {}).items()}
    return WORDS[error["type"]][1].format(**told)


def _plain(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace("'", "").replace(" or ", ", ")


def _cure(kind: str, given: object, allowed: str, where: str) -> str:
    if kind in ("int_type", "float_type") and isinstance(given, str) and _number(given):
        return f"write it without quotes: {given}"
    if kind == "string_type" and isinstance(given, bool | int | float):
        # Where a bound or a duration belongs, quotes alone would lead to the next mistake.
        if where.startswith("constraints."):
            return 'write a bound, such as "<= dense / 4"'
        if where.rpartition(".")[2] in DURATIONS:
            return "write it with its unit, such as 30m"
        return f'write it in quotes: "{str(given).lower()}"'
    if kind == "tuple_type" and isinstance(given, str | int | float):
        return f"write it in brackets: [{given}]"
    if kind not in CHOICES:
        return f"correct {where}"
    near = nearest(given, allowed.split(", "))
    return f"did you mean {near!r}?" if near else f"write one of those at {where}"


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _location(loc: tuple[int | str, ...], data: Any) -> tuple[str | int, ...]:
    """Drop the union tags that pydantic adds to a key's path: only what stands in the file remains."""
    kept: list[str | int] = []
    at = data
    for index, part in enumerate(loc):
        inside = (isinstance(at, dict) and part in at) or (isinstance(at, list) and isinstance(part, int))
        last = index == len(loc) - 1
        if inside:
            at = at[part]
            kept.append(part)
        elif last and isinstance(at, dict) and str(part) in _keys_at(tuple(kept)):
            kept.append(part)
    return tuple(kept)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType) or get_args(annotation):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def _keys_at(path: tuple[str | int, ...]) -> list[str]:
    models: list[type[BaseModel]] = [Study]
    for part in path:
        fields = [m.model_fields[str(part)].annotation for m in models if str(part) in m.model_fields]
        models = [model for annotation in fields for model in _models(annotation)]
    return sorted({key for model in models for key in model.model_fields})
