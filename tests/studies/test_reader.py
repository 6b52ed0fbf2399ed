"""Broken study files: exit code 2 and one message that names the key and the cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.studies.errors import StudyError
from slimfront.studies.reader import parse_study, read_study

from tests.commands import forked

Data = dict[str, Any]


def put(path: str, value: Any) -> Callable[[Data], Data]:
    """Return a change that sets one key."""

    def change(data: Data) -> Data:
        data = json.loads(json.dumps(data))
        *parents, last = path.split(".")
        at = data
        for key in parents:
            at = at[key]
        at[last] = value
        return data

    return change


def dump(change: Callable[[Data], Data]) -> Callable[[Data], str]:
    return lambda data: json.dumps(change(data), indent=1)


def duplicate(data: Data) -> str:
    return json.dumps(data, indent=1).replace('"name": "small",', '"name": "small",\n "name": "other",')


def tabs(data: Data) -> str:
    return "name: small\nsearch:\n\ttrials: 5\n"


def nested(data: Data) -> str:
    return "name: " + "[" * 100 + "]" * 100 + "\n"


BROKEN: dict[str, tuple[Callable[[Data], str], list[str]]] = {
    "unknown key": (dump(put("search.trails", 5)), ["search.trails", "did you mean 'trials'?"]),
    "wrong type": (dump(put("search.trials", "many")), ["search.trials", "whole number"]),
    "duplicate key": (duplicate, ["duplicate key", "line"]),
    "missing column": (dump(put("data.label", "labels")), ["data.label", "did you mean 'label'?"]),
    "one column twice": (dump(put("data.label", "text")), ["data:", "are one column, 'text'", "next:    name two"]),
    "one class": (dump(put("data.labels", ["fresh"])), ["data.labels", "one class"]),
    "unknown model path": (dump(put("model.path", "/no/such/model")), ["model.path", "/no/such/model"]),
    "no such sampler": (dump(put("search.sampler", "tpee")), ["search.sampler", "did you mean 'tpe'?"]),
    "zeros without download": (
        dump(put("space.unstructured", {"levels": [0.5]})),
        ["space.unstructured", "add 'download' to 'objectives'"],
    ),
    "no such pattern": (
        dump(put("space.unstructured", {"levels": [0.5, "4:2"]})),
        ["space.unstructured.levels", "4:2", "n is less"],
    ),
    "a fixed value that is none": (
        dump(put("space.fixed", {"bits/*": True})),
        ["space.fixed.bits/*", "a number or a text"],
    ),
    "all weights zero": (dump(put("space.unstructured", {"levels": [1.0]})), ["space.unstructured.levels", "'2:4'"]),
    "empty space": (dump(put("space", {"bits": {"levels": [32]}})), ["space", "empty"]),
    "impossible constraint": (
        dump(put("constraints", {"size": "less than 20 MB"})),
        ["constraints.size", '"<= 20 MB"'],
    ),
    "NaN": (dump(put("search.failures", float("nan"))), ["search.failures", "finite"]),
    "a length in words": (dump(put("target.tokens", "long")), ["target.tokens", "long", "'data'"]),
    "label twice": (dump(put("data.labels", ["fresh", "rotten", "fresh"])), ["data.labels", "named twice"]),
    "too hot": (dump(put("space.distillation.temperature", [1e300])), ["space.distillation.temperature", "1000"]),
    "tab": (tabs, ["line 3", "tab", "spaces"]),
    "deep nesting": (nested, ["nested too deeply", "20 levels"]),
}


# Found by what a worker loads, as a missing column is: one of them shows how `launch` tells of it.
LATE = ("one class", "empty space", "unknown model path")


@pytest.mark.parametrize("name", BROKEN)
def test_broken_study(name: str, study_data: Callable[..., Data], tmp_path: Path) -> None:
    make, expected = BROKEN[name]
    path = tmp_path / "study.yaml"
    # YAML spells it .nan
    path.write_text(make(study_data()).replace("NaN", ".nan"))
    for command in ("validate",) if name in LATE else ("validate", "launch"):
        done = forked(command, path, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert done.stdout == "" and "Traceback" not in done.stderr
        assert "error: " in done.stderr and done.stderr.count("error:") == 1
        for part in expected:
            assert part in done.stderr, done.stderr


def test_shipped_study_is_valid() -> None:
    study = read_study(Path(__file__).parents[2] / "studies" / "quickstart.yaml")
    assert study.search.trials >= 60 and study.constraints == {"accuracy": ">= dense - 0.03"}


def test_missing_file_suggests_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: x")
    with pytest.raises(StudyError, match=r"study\.yaml\?"):
        read_study(tmp_path / "studdy.yaml")


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda c: st.dictionaries(st.text(max_size=6), c, max_size=4) | st.lists(c, max_size=3),
        max_leaves=12,
    )
)
def test_any_data_gives_a_study_error(data: Any) -> None:
    with pytest.raises(StudyError):
        parse_study(data)


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=80))
def test_any_text_gives_a_study_error(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "s.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(StudyError):
        read_study(path)
