from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.objectives.sessions import openvino
from slimfront.objectives.sessions.openvino import RELOADS, OpenVinoSession
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import walk
from slimfront.studies.schema import TargetSpec

from tests.conftest import codes_of, example_inputs, make_encoder


class Poisoned:
    """A request whose buffers hold what is no number."""

    def infer(self, _batch: Any) -> list[np.ndarray]:
        return [np.full((2, 2), np.nan, dtype=np.float32)]


def session_of(folder: Path, spoil: bool = False) -> OpenVinoSession:
    module, inputs = make_encoder("bert"), example_inputs()
    runtime = RUNTIMES.get("openvino", where="x")(TargetSpec())
    draft = Draft(walk(module, inputs), {}, runtime.supports(), "f32")
    blueprint = runtime.prepare(module, inputs, {}, {}, "session")
    if spoil:
        with torch.no_grad():
            module.classifier.bias.fill_(float("nan"))
    artifact = blueprint.lower(draft.stitch(module, codes_of(module, runtime.supports())), folder)
    session = runtime.load(artifact)
    assert isinstance(session, OpenVinoSession)
    return session


def batch() -> dict[str, Any]:
    return {name: value.numpy() for name, value in example_inputs().items()}


def test_a_model_that_was_loaded_to_a_bad_place_is_loaded_again(tmp_path: Path) -> None:
    session = session_of(tmp_path / "model")
    expected = session.run(batch())
    session._request = Poisoned()
    np.testing.assert_array_equal(session.run(batch()), expected)
    assert np.isfinite(expected).all()


def test_a_model_that_computes_no_numbers_is_believed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, loads = session_of(tmp_path / "model", spoil=True), []
    load = openvino.OpenVinoSession._load
    monkeypatch.setattr(OpenVinoSession, "_load", lambda self: loads.append(1) or load(self))
    assert np.isnan(session.run(batch())).all() and len(loads) == RELOADS
    # Its files may be gone while it lives.
    for path in (tmp_path / "model").iterdir():
        path.unlink()
    assert np.isnan(session.run(batch())).all() and len(loads) == RELOADS
