"""Reads study files: safe YAML with limits, and one clear message for whatever is wrong in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from slimfront.studies.errors import StudyError, nearest
from slimfront.studies.explaining import explained
from slimfront.studies.schema import Study

MAX_BYTES = 100_000
MAX_DEPTH, MAX_VALUES = 20, 10_000


def read_study(path: str | Path) -> Study:
    """Read and check a study file.

    Raises:
        StudyError: the file is missing, is no YAML, or does not describe a study. The message names the key.
    """
    path = Path(path)
    return parse_text(_read_text(path), str(path))


def parse_text(text: str, where: str) -> Study:
    """Check a study given as YAML.

    Raises:
        StudyError: see :func:`read_study`.
    """
    return parse_study(_load_yaml(text, where), where)


def parse_study(data: Any, where: str = "study") -> Study:
    """Check a study given as plain data.

    Raises:
        StudyError: see :func:`read_study`.
    """
    if not isinstance(data, dict):
        raise StudyError("a study is a mapping of keys", where=where, given=data, hint="begin with 'name: …'")
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        raise explained(error, data) from None


def dump_study(study: Study) -> str:
    """Return the study as canonical JSON, for hashing and for the run folder."""
    return json.dumps(study.model_dump(mode="json"), sort_keys=True, indent=1, allow_nan=False)


def _read_text(path: Path) -> str:
    hint = "check the path, or start from a copy of studies/quickstart.yaml"
    if not path.exists():
        folder = path.parent
        files = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        near = nearest(path.name, files)
        hint = f"did you mean {folder / near}?" if near else hint
        raise StudyError("there is no such study file", where=str(path), hint=hint)
    if not path.is_file():
        raise StudyError(
            "this is neither a study file nor the folder of a run",
            where=str(path),
            given="a folder" if path.is_dir() else "no regular file",
            allowed="a YAML file, or a folder that 'slimfront launch' wrote, with its study.json",
            hint=hint,
        )
    if path.stat().st_size > MAX_BYTES:
        raise StudyError(
            "too large for a study file",
            where=str(path),
            given=f"{path.stat().st_size} bytes",
            allowed=f"{MAX_BYTES} bytes",
            hint=hint,
        )
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise StudyError("not UTF-8 text", where=str(path), given=str(error), hint="save it as UTF-8") from None
    except OSError as error:
        raise StudyError("cannot be read", where=str(path), given=str(error)) from None


def _load_yaml(text: str, where: str) -> Any:
    for number, line in enumerate(text.splitlines(), 1):
        if line[: len(line) - len(line.lstrip())].count("\t"):
            raise StudyError(
                "a tab indents this line; YAML allows spaces only",
                where=f"{where}, line {number}",
                given=line,
                hint="replace the tab by two spaces",
            )
    _check_shape(text, where)
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = False
    yaml.max_depth = MAX_DEPTH
    try:
        return yaml.load(text)
    except YAMLError as error:
        raise _explain_yaml(error, where) from None
    except Exception as error:
        # A value that is not of its own tag, or a number that no float holds: the library raises whatever comes up.
        raise StudyError("not a study in YAML", where=where, given=f"{type(error).__name__}: {error}") from None


def _check_shape(text: str, where: str) -> None:
    """Refuse aliases, deep nesting and endless lists before the parser builds anything of them."""
    yaml = YAML(typ="safe", pure=True)
    depth = values = 0
    try:
        for event in yaml.parse(text):
            kind = type(event).__name__
            depth += kind in ("MappingStartEvent", "SequenceStartEvent")
            depth -= kind in ("MappingEndEvent", "SequenceEndEvent")
            values += kind == "ScalarEvent"
            if kind == "AliasEvent" or depth > MAX_DEPTH or values > MAX_VALUES:
                raise _misshapen(kind, depth, f"{where}, line {event.start_mark.line + 1}", event.start_mark.column + 1)
    except YAMLError as error:
        raise _explain_yaml(error, where) from None
    except StudyError:
        raise
    except Exception as error:
        raise StudyError("not a study in YAML", where=where, given=f"{type(error).__name__}: {error}") from None


def _misshapen(kind: str, depth: int, line: str, column: int) -> StudyError:
    if kind == "AliasEvent":
        return StudyError("aliases (*name) are not allowed in a study", where=line, hint="write the value out")
    if depth > MAX_DEPTH:
        return StudyError(
            "nested too deeply for a study",
            where=f"{line}, column {column}",
            given=f"more than {MAX_DEPTH} levels",
            allowed=f"at most {MAX_DEPTH} levels",
            hint="remove the nesting; studies/quickstart.yaml shows the layout",
        )
    return StudyError(
        "too many keys and values for a study",
        where=f"{line}, column {column}",
        given=f"more than {MAX_VALUES}",
        allowed=f"at most {MAX_VALUES}",
        hint="keep data in files of their own; studies/quickstart.yaml shows the layout",
    )


def _explain_yaml(error: YAMLError, where: str) -> StudyError:
    mark = getattr(error, "problem_mark", None)
    problem = (getattr(error, "problem", None) or str(error).strip() or "malformed").splitlines()[0]
    place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
    hint = "remove one of the two" if "duplicate key" in problem else "correct the YAML at that line"
    return StudyError(f"not valid YAML: {problem}", where=place, hint=hint)
