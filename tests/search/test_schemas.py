from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML
from slimfront.search import authoring
from slimfront.search.inspect.documents import DOCUMENTS
from slimfront.search.samplers import SAMPLERS
from slimfront.search.schemas import STUDY, schema_of
from slimfront.search.trackers import TRACKERS
from slimfront.spaces.masks import MASKS
from slimfront.studies.errors import StudyError

from tests.commands import forked

QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"


def validator(name: str) -> jsonschema.Draft202012Validator:
    found = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def test_studies_keep_the_schema(study_data: Callable[..., dict[str, Any]]) -> None:
    check = validator(STUDY)
    check.validate(YAML(typ="safe").load(QUICKSTART.read_text()))
    check.validate(study_data())
    # One learning rate may stand without brackets, as the reader takes it.
    check.validate({**study_data(), "space": {"distillation": {"learning_rate": 1e-4}}})


@pytest.mark.parametrize(
    "change",
    [
        {"nmae": "x"},
        {"objectives": ["size", "speed"]},
        {"search": {"sampler": "tpee"}},
        {"search": {"trials": 0}},
        {"space": {"bits": {"quantizer": "hqqq"}}},
        {"train": {"method": "finetune"}},
        {"target": {"device": "tpu"}},
    ],
)
def test_an_editor_sees_what_the_reader_refuses(change: Any, study_data: Callable[..., dict[str, Any]]) -> None:
    assert list(validator(STUDY).iter_errors({**study_data(), **change}))


def test_keys_are_described() -> None:
    found = schema_of(STUDY)
    assert found["properties"]["recovery"]["description"].startswith("Recovery that all trials share")
    assert "truncated" in found["$defs"]["ModelSpec"]["properties"]["max_tokens"]["description"]
    assert "Attributes" not in json.dumps(found)
    search = found["$defs"]["SearchSpec"]["properties"]
    assert search["sampler"]["enum"] == list(SAMPLERS) and search["trackers"]["items"]["enum"] == list(TRACKERS)
    assert found["$defs"]["UnstructuredSpec"]["properties"]["mask"]["enum"] == list(MASKS)


def test_the_command_prints_each() -> None:
    assert sorted(authoring.SCHEMAS) == sorted((STUDY, *DOCUMENTS))
    for name in DOCUMENTS:
        assert validator(name).schema["properties"]["schema_version"]["const"] == 1
    done = forked("schema", "inspect")
    assert done.returncode == 0 and json.loads(done.stdout) == schema_of("inspect")
    with pytest.raises(StudyError, match="no schema"):
        schema_of("inspekt")
