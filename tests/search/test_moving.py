"""What a configuration becomes on another target."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slimfront.search.front import Point
from slimfront.search.moving import Moved, as_computed
from slimfront.search.remeasure import require_some
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.spaces.structure import Anatomy, WeightGroup
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import StudyError
from slimfront.studies.space import BitsSpec, SpaceSpec

ANATOMY = Anatomy((), (WeightGroup("a.0.ffn", "ffn_in", ("a.0.ffn.weight",)),), {})
BITS = BitsSpec(levels=(4, 32), granularity="layer")


def capabilities(*precisions: str) -> Capabilities:
    return Capabilities((4, 8, 32), (64,), precisions)


def test_what_a_target_does_not_compute_in_runs_in_f32() -> None:
    space = Space(SpaceSpec(bits=BITS, precision=("f32", "bf16")), ANATOMY, capabilities("f32", "bf16"))
    fast = Configuration({**space.dense(), "bits/a.0.ffn": 4, "precision/inference": "bf16"})
    plain = Configuration({**fast, "precision/inference": "f32"})
    assert as_computed(space, fast, capabilities("f32")) == plain
    assert as_computed(space, fast, capabilities("f32", "bf16")) == fast
    assert as_computed(space, plain, capabilities("f32")) == plain
    single = Space(SpaceSpec(bits=BITS), ANATOMY, capabilities("f32", "bf16"))
    assert as_computed(single, single.dense(), capabilities("f32")) == single.dense()


def test_a_runtime_that_no_point_can_move_to_is_refused() -> None:
    point = Point(3, {"size": 1.0}, {}, Configuration({}))
    moved = Moved(None, {}, {}, {3: "onnxruntime has no 3 bits"})  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="no point of the front can be had") as refused:
        require_some([point], moved, "onnxruntime")
    assert "has no 3 bits" in str(refused.value) and "--target onnxruntime" in str(refused.value)
    require_some([], moved, "onnxruntime")
    require_some([point], replace(moved, configurations={3: point.configuration}), "onnxruntime")
