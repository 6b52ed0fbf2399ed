"""What every runtime must keep, on encoders whose modules have different names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.objectives.sessions import SESSIONS
from slimfront.objectives.sessions.session import reading_batch
from slimfront.spaces.assembly import assembled
from slimfront.spaces.axes.bits import offers
from slimfront.spaces.axes.vocabulary import REMOVED
from slimfront.spaces.draft import Draft
from slimfront.spaces.ranges import rounding
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Form
from slimfront.studies.errors import RecordsError, StudyError
from slimfront.studies.schema import TargetSpec
from slimfront.studies.space import BitsSpec, DepthSpec, SpaceSpec, SparsitySpec, VocabularySpec
from slimfront.studies.vocabulary import Vocabulary, find_table

from tests.conftest import DECODERS, ENCODERS, codes_of, cut_copy, example_inputs, make_encoder

KINDS = (*ENCODERS, *DECODERS)
# Conversions take long, those to ONNX most of all: the other kinds wait for `make slow`.
SHORT = {"onnxruntime": ("bert",), "openvino": ("bert", "gpt2", "modernbert")}


def _pairs() -> Iterator[Any]:
    for name in RUNTIMES.names():
        for kind in KINDS:
            marks = () if kind in SHORT.get(name, KINDS) else (pytest.mark.slow,)
            yield pytest.param(name, kind, marks=marks, id=f"{name}-{kind}")


def require_known_sizes(blueprint: Blueprint, artifact: Artifact, draft: Draft, forms: Mapping[str, Form]) -> None:
    """Require that a size is known before anything is built, and is that of the files."""
    assert artifact.size() == sum((artifact.folder / file).stat().st_size for file in artifact.files)
    assert artifact.size() == blueprint.size(forms, draft.kept, draft.skipped)
    blocks = [blueprint.frame_size({}, {name}) - blueprint.frame_size({}) for name in draft.skipped]
    assert blueprint.frame_size(draft.kept, draft.skipped) == blueprint.frame_size(draft.kept) + sum(blocks)


def unpadded(batch: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    """Return one row of a batch as it is read alone."""
    length = int(batch["attention_mask"][row].sum())
    return {name: values[row : row + 1, :length] for name, values in batch.items()}


def test_what_a_runtime_makes_a_session_runs() -> None:
    assert RUNTIMES.names() == SESSIONS.names()


@pytest.mark.parametrize(("name", "kind"), list(_pairs()))
def test_artifact_computes_what_the_compressed_module_computes(name: str, kind: str, tmp_path: Path) -> None:
    module, inputs = make_encoder(kind, blocks=3), example_inputs()
    runtime = RUNTIMES.get(name, where="x")(TargetSpec())
    capabilities, anatomy = runtime.supports(), walk(module, inputs)
    spec = SpaceSpec(
        depth=DepthSpec(levels=(0.5,)),
        sparsity=SparsitySpec(levels=(0.5,)),
        vocabulary=VocabularySpec(levels=(0.5,)),
        bits=BitsSpec(),
    )
    names = [block.name for block in anatomy.blocks]
    left = runtime.removable(module, inputs, names, kind)
    # The blocks of some share shapes that the first one computes.
    assert left in (names, names[1:]) and len(names) == 3
    anatomy = replace(
        anatomy,
        blocks=tuple(block for block in anatomy.blocks if block.name in left),
        vocabulary=Vocabulary(find_table(module, inputs), 120, 44),
    )
    removals = {block.name: block.remove for block in anatomy.blocks}
    space = Space(spec, anatomy, capabilities)
    blueprint = runtime.prepare(module, inputs, {s.name: s.cut() for s in anatomy.structures}, removals, kind)
    scores = {s.name: torch.arange(s.units).float() for s in anatomy.structures}
    levels = offers(capabilities)
    mixed = {
        parameter: levels[number % len(levels)] if parameter.startswith("bits/") else domain.values[number % 2]
        for number, (parameter, domain) in enumerate(space.domains.items())
    }
    depth = [name for name in space.domains if name.startswith("depth/")]
    whole = mixed | dict.fromkeys(depth, "kept") | {REMOVED: 0.5}
    shorter = [whole | dict.fromkeys(removed, "removed") for removed in (depth[:1], depth[-1:], depth[:2])]
    batch = {key: value.numpy() for key, value in inputs.items()}
    sizes = []
    for number, values in enumerate((space.dense(), whole, *shorter)):
        draft = space.draft(scores, space.canonical(values))
        compressed = draft.stitch(module, codes_of(module, capabilities))
        artifact = blueprint.lower(compressed, tmp_path / str(number))
        cut = cut_copy(draft, module, codes_of(module, capabilities))
        assert set(compressed.tensors) == {key for key, _ in cut.named_parameters()}
        for key, tensor in compressed.tensors.items():
            value = tensor.float() if isinstance(tensor, torch.Tensor) else tensor.dequantize()
            cut.get_parameter(key).data = value
        if number:
            assert bool(compressed.reads) == bool(capabilities.static)
        with torch.no_grad(), rounding(cut, compressed.reads):
            expected = cut(**inputs).logits.numpy()
        # Some round what layers read to 8 bits, in ranges of their own.
        apart = 0.005 + 0.05 * np.abs(expected).max()
        session = runtime.load(Artifact.open(tmp_path / str(number)))
        answers = session.run(batch)
        assert np.allclose(answers, expected, atol=apart)
        if session.reading > 1:
            # Whatever else is read at once, and however much is padded, the answer is the same.
            alone = [session.run(unpadded(batch, row)) for row in range(len(answers))]
            assert np.allclose(np.concatenate(alone), answers, rtol=0, atol=1e-4 * np.abs(expected).max())
        forms = {key: Form.of(tensor) for key, tensor in compressed.tensors.items()}
        assert forms == draft.forms({key: value.shape for key, value in module.named_parameters()})
        require_known_sizes(blueprint, artifact, draft, forms)
        products = [key for key in blueprint.products if key in forms]
        mode = runtime.mode([forms[key] for key in products], compressed.precision)
        assert all(runtime.kernel(forms[key], mode) for key in products)
        times = blueprint.profile(compressed, mode, batch, 3, lambda: None)
        assert set(times) == {"", *blueprint.products, *(s.name for s in anatomy.structures), *removals}
        assert all(spent >= 0 for spent in times.values()) and all(times[key] > 0 for key in products)
        assert all(times[name] == 0 for name in draft.skipped)
        sizes.append(artifact.size())
        if number < 2:
            assert blueprint.lower(compressed, tmp_path / f"again-{number}").files == artifact.files
    assert sizes[1] < sizes[0] and max(sizes[2:4]) < sizes[1] and sizes[4] < min(sizes[2:4])


@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("name", [name for name in RUNTIMES.names() if reading_batch(name, 1) > 1])
def test_what_is_read_at_once_changes_no_more_than_rounding(name: str, precision: str, tmp_path: Path) -> None:
    runtime, rows = RUNTIMES.get(name, where="x")(TargetSpec()), reading_batch(name, 1)
    assert reading_batch(name, 500) == 500
    capabilities = runtime.supports()
    if precision not in capabilities.precisions:
        pytest.skip(f"this machine has no {precision}")
    module, inputs = make_encoder("bert"), example_inputs()
    spec = SpaceSpec(bits=BitsSpec(), precision=("f32", precision))
    space = Space(spec, walk(module, inputs), capabilities)
    blueprint = runtime.prepare(module, inputs, {}, {}, "of these tests")
    lengths = np.arange(rows) + 2
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.random.default_rng(0).integers(4, 40, mask.shape) * mask
    batch = {"input_ids": ids, "attention_mask": mask}
    for level in offers(capabilities):
        values = {key: level if key.startswith("bits/") else precision for key in space.domains}
        draft = space.draft({}, space.canonical(values))
        compressed = draft.stitch(module, codes_of(module, capabilities))
        loaded = runtime.load(blueprint.lower(compressed, tmp_path / str(level)))
        together = loaded.run(batch)
        alone = [loaded.run(unpadded(batch, row)) for row in range(rows)]
        apart = np.abs(np.concatenate(alone) - together).max() / np.abs(together).max()
        assert apart <= (1e-5 if precision == "f32" else 2**-6), level


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_what_is_converted_again_has_the_same_bytes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs = make_encoder("bert"), example_inputs()
    runtime = RUNTIMES.get(name, where="x")(TargetSpec())
    space = Space(SpaceSpec(bits=BitsSpec()), walk(module, inputs), runtime.supports())
    files = []
    for cache in ("one", "other"):
        monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path / cache))
        blueprint = runtime.prepare(module, inputs, {}, {}, "of these tests")
        compressed = space.draft({}, space.dense()).stitch(module, codes_of(module, runtime.supports()))
        files.append(dict(blueprint.lower(compressed, tmp_path / f"{cache}-files").files))
    assert files[0] == files[1]


@pytest.mark.parametrize("kind", ["distilbert", "gpt2"])
def test_activations_are_rounded_in_their_ranges(kind: str, tmp_path: Path) -> None:
    module, inputs = make_encoder(kind), example_inputs()
    runtime = RUNTIMES.get("openvino", where="x")(TargetSpec())
    anatomy = walk(module, inputs)
    space = Space(SpaceSpec(depth=DepthSpec(), bits=BitsSpec()), anatomy, runtime.supports())
    removals = {block.name: block.remove for block in anatomy.blocks}
    blueprint = runtime.prepare(module, inputs, {}, removals, f"{kind}-static")
    values = {name: "8-static" if name.startswith("bits/") else "kept" for name in space.domains}
    first = next(name for name in space.domains if name.startswith("depth/"))
    for configuration in (space.canonical(values), space.canonical({**values, first: "removed"})):
        draft = space.draft({}, configuration)
        compressed = draft.stitch(module, codes_of(module, runtime.supports()))
        assert set(compressed.reads) == set(draft.left(anatomy.linear))
        stitched, batch = assembled(module, draft, compressed.tensors), {k: v.numpy() for k, v in inputs.items()}
        with torch.no_grad():
            floats = stitched(**inputs).logits.numpy()
            with rounding(stitched, compressed.reads):
                expected = stitched(**inputs).logits.numpy()
        session = runtime.load(blueprint.lower(compressed, tmp_path / str(len(draft.skipped))))
        apart = np.abs(session.run(batch) - expected).max()
        assert apart < 0.1 * np.abs(floats - expected).max()


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_damaged_artifacts_are_refused(name: str, tmp_path: Path) -> None:
    module, inputs = make_encoder("bert"), example_inputs()
    runtime = RUNTIMES.get(name, where="x")(TargetSpec())
    space = Space(SpaceSpec(bits=BitsSpec()), walk(module, inputs), runtime.supports())
    compressed = space.draft({}, space.dense()).stitch(module, codes_of(module, runtime.supports()))
    artifact = runtime.prepare(module, inputs, {}, {}, "damaged").lower(compressed, tmp_path / "a")
    victim = artifact.folder / sorted(artifact.files)[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    with pytest.raises(RecordsError, match="not what was measured"):
        Artifact.open(artifact.folder)


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_a_module_that_cannot_be_converted_is_refused(name: str) -> None:
    class Untraceable(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor) -> object:
            return object()

    runtime = RUNTIMES.get(name, where="x")(TargetSpec())
    with pytest.raises(StudyError, match="cannot convert this model"):
        runtime.prepare(Untraceable(), {"input_ids": torch.zeros(2, 4, dtype=torch.long)}, {}, {}, "untraceable")
