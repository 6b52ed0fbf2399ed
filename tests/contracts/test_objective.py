"""What every objective must keep."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.objective import OBJECTIVES, Context
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.objectives.sessions import Session
from slimfront.spaces.draft import Draft
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.encoding import Batch, Encoded
from slimfront.studies.errors import MissingError
from slimfront.studies.schema import TargetSpec
from slimfront.studies.space import BitsSpec, SpaceSpec

from tests.conftest import codes_of, example_inputs, make_encoder

BASE = {"latency": 2.0, "throughput": 1.0, "energy": 0.02, "accuracy": 0.75}


def examples(rows: int = 24) -> Encoded:
    """Return random sentences labelled by the dense model, the last quarter wrongly."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 100, (rows, 9), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        labels = make_encoder("bert")(**inputs).logits.argmax(1).numpy()
    labels[-rows // 4 :] = 1 - labels[-rows // 4 :]
    table = tuple({"input_ids": row, "attention_mask": [1] * 9} for row in ids.tolist())
    return Encoded.of(table, labels, {"input_ids": 0, "attention_mask": 0})


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Artifact, Context]]:
    """Return the dense and an 8-bit artifact, each with its context."""
    root = tmp_path_factory.mktemp("objective")
    module, inputs = make_encoder("bert"), example_inputs()
    runtime = RUNTIMES.get("openvino", where="x")(TargetSpec())
    space = Space(SpaceSpec(bits=BitsSpec(levels=(8,), granularity="all")), walk(module, inputs), runtime.supports())
    blueprint = runtime.prepare(module, inputs, {}, {}, "objectives")
    request = {name: value.numpy() for name, value in inputs.items()}
    found: dict[str, tuple[Artifact, Context]] = {}
    for name, configuration in zip(("dense", "small"), space.uniform(), strict=True):
        compressed = space.draft({}, configuration).stitch(module, codes_of(module, runtime.supports()))
        artifact = blueprint.lower(compressed, root / name)
        first = found.get("dense")
        found[name] = (
            artifact,
            Context(
                session=runtime.load(artifact),
                examples=examples(),
                batch=1,
                requests=(request,),
                load_dense=(lambda: found["dense"][1].session) if first else None,
                dense_requests=(request,),
                dense={"size": first[0].size(), **BASE} if first else {},
                cost=1.0,
                full_requests=((request,), (request,)),
                dense_logits=first[1].logits() if first else None,
            ),
        )
    return found


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in for the energy counters of two packages of 10 W each, which go on and begin anew at 3 J."""
    packages = [tmp_path / f"intel-rapl:{number}" for number in range(2)]
    for folder in (*packages, tmp_path / "intel-rapl:0:0"):
        folder.mkdir()
        (folder / "max_energy_range_uj").write_text("3000000")
        (folder / "energy_uj").write_text("0")
    monkeypatch.setattr("slimfront.objectives.counters.PACKAGES", tmp_path)
    over = threading.Event()

    def count() -> None:
        while not over.wait(0.001):
            for folder in packages:
                scratch = folder / "scratch"
                scratch.write_text(str(int(time.perf_counter() * 1e7) % 3_000_000))
                scratch.replace(folder / "energy_uj")

    thread = threading.Thread(target=count)
    thread.start()
    yield tmp_path
    over.set()
    thread.join()


def test_energy_is_read_off_the_packages(counters: Path, measured: dict[str, tuple[Artifact, Context]]) -> None:
    artifact, context = measured["dense"]
    energy = OBJECTIVES.get("energy", where="x")
    energy.require("cpu")
    found = energy().measure(artifact, context)
    latency = OBJECTIVES.get("latency", where="x")().measure(artifact, context)
    # 20 W for as long as a request takes; the clock's own runs and the counters' steps take some of it.
    assert 0.3 < found.value / (20 * latency.value / 1e3) < 3
    for folder in counters.glob("intel-rapl:?"):
        (folder / "energy_uj").chmod(0o000)
    if os.geteuid() != 0:
        with pytest.raises(MissingError, match="energy counters"):
            energy.require("cpu")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for NVML and a GPU of 300 W that is the second of its machine and the first that PyTorch sees."""
    nvml = SimpleNamespace(
        NVMLError=type("NVMLError", (Exception,), {}),
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID={"GPU-0-1-2": "second"}.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption=lambda device: {"second": int(time.perf_counter() * 3e5)}[device],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: SimpleNamespace(uuid="0-1-2"))
    monkeypatch.setattr("slimfront.objectives.counters.Gpu.stretch", 0.1)


@pytest.mark.usefixtures("gpu")
def test_energy_of_a_gpu_is_its_own(measured: dict[str, tuple[Artifact, Context]]) -> None:
    artifact, context = measured["dense"]
    energy = OBJECTIVES.get("energy", where="x")
    energy.require("cuda")
    found = energy().measure(replace(artifact, options={**artifact.options, "device": "cuda"}), context)
    latency = OBJECTIVES.get("latency", where="x")().measure(artifact, context)
    assert 0.3 < found.value / (300 * latency.value / 1e3) < 3


def test_a_machine_without_a_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = OBJECTIVES.get("energy", where="x")
    with pytest.raises(MissingError, match=r"slimfront\[gpu\]"):
        energy.require("cuda")
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=OSError, nvmlInit=lambda: None))
    with pytest.raises(MissingError, match="energy counters"):
        energy.require("cuda")


def test_a_machine_without_counters_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimfront.objectives.counters.PACKAGES", tmp_path)
    with pytest.raises(MissingError, match="energy counters"):
        OBJECTIVES.get("energy", where="x").require("cpu")


def test_memory_grows_with_the_files(measured: dict[str, tuple[Artifact, Context]]) -> None:
    found = {
        name: OBJECTIVES.get("memory", where="x")().measure(artifact, context)
        for name, (artifact, context) in measured.items()
    }
    assert found["dense"].value > measured["dense"][0].size()
    assert all(one.interval and one.interval[1] < 1.5 * one.interval[0] for one in found.values())


def test_the_code_of_a_class_is_not_counted_as_memory(tmp_path: Path) -> None:
    """Transformers imports a model's file, and with it much else, only when it is asked for its class."""
    module, inputs = make_encoder("bert"), example_inputs()
    runtime = RUNTIMES.get("pytorch", where="x")(TargetSpec(runtime="pytorch"))
    draft = Draft(walk(module, inputs), {}, runtime.supports(), "f32")
    codes = codes_of(module, runtime.supports())
    artifact = runtime.prepare(module, inputs, {}, {}, "memory").lower(draft.stitch(module, codes), tmp_path / "model")
    request = ({name: value.numpy() for name, value in inputs.items()},)
    context = Context(runtime.load(artifact), examples(), 1, request, None, request, {}, 1.0)
    found = OBJECTIVES.get("memory", where="x")().measure(artifact, context)
    # Without the model the code alone takes 150 MB.
    assert artifact.size() < found.value < 60e6


def test_throughput_is_for_each_sentence(
    measured: dict[str, tuple[Artifact, Context]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(runs: Sequence[Callable[[], object]], threads: int) -> tuple[npt.NDArray[np.float64], dict[str, object]]:
        for run in runs:
            run()
        return np.array([[12.0] * 9, [3.0] * 9]), {"threads": threads}

    monkeypatch.setattr("slimfront.objectives.throughput.compared", timed)
    artifact, context = measured["dense"]
    assert context.full_requests is not None
    sentences = sum(len(batch["input_ids"]) for batch in context.full_requests[1])
    alone = replace(context, dense={})
    assert sentences > 1 and OBJECTIVES.get("throughput", where="x")().measure(artifact, alone).value == 3 / sentences
    beside = replace(context, dense={"throughput": 2.0})
    assert OBJECTIVES.get("throughput", where="x")().measure(artifact, beside).value == pytest.approx(2.0 / 4)


@pytest.mark.parametrize("name", OBJECTIVES.names())
@pytest.mark.usefixtures("counters")
def test_objective_contract(name: str, measured: dict[str, tuple[Artifact, Context]]) -> None:
    objective = OBJECTIVES.get(name, where="x")()
    objective.require("cpu")
    assert objective.unit in ("byte", "ms", "J", "fraction", "nat") and objective.direction in ("minimize", "maximize")
    assert objective.description
    for artifact, context in measured.values():
        found = objective.measure(artifact, context)
        assert found.unit == objective.unit and np.isfinite(found.value)
        assert found.value >= 0 or objective.direction == "maximize"
        assert found.value > 0 or objective.worst is not None or objective.direction == "maximize"
        if found.interval is not None:
            assert found.interval[0] <= found.value <= found.interval[1]
        # Whatever steers a sampler must repeat exactly, or a seed would not.
        assert objective.measure(artifact, context).to_json()["steer"] == found.to_json()["steer"]


def test_accuracy_is_that_of_the_artifact_itself(measured: dict[str, tuple[Artifact, Context]]) -> None:
    artifact, context = measured["dense"]
    found = OBJECTIVES.get("accuracy", where="x")().measure(artifact, context)
    assert found.value == 0.75
    assert found.interval == pytest.approx((0.5329, 0.9023), abs=1e-3)  # Clopper and Pearson for 18 of 24


def test_size_is_what_lies_on_the_disk(measured: dict[str, tuple[Artifact, Context]]) -> None:
    sizes = {}
    for name, (artifact, context) in measured.items():
        sizes[name] = OBJECTIVES.get("size", where="x")().measure(artifact, context).value
        assert sizes[name] == sum(p.stat().st_size for p in artifact.folder.iterdir() if p.suffix in (".xml", ".bin"))
    assert sizes["small"] < sizes["dense"]


def test_latency_is_a_ratio_in_interleaved_runs(measured: dict[str, tuple[Artifact, Context]]) -> None:
    """The dense model against itself must be 1: its value is then the dense milliseconds."""
    artifact, context = measured["dense"]
    twin = replace(context, load_dense=lambda: context.session, dense={"latency": 2.0})
    found = OBJECTIVES.get("latency", where="x")().measure(artifact, twin)
    assert found.value == pytest.approx(2.0, rel=0.2)
    assert np.isfinite(found.interval or ()).all() and found.steer == 1.0


def test_a_model_that_reads_more_tokens_is_timed_on_more_of_them(measured: dict[str, tuple[Artifact, Context]]) -> None:
    artifact, context = next(iter(measured.values()))
    longer = {name: np.tile(values, (1, 6)) for name, values in context.requests[0].items()}
    twin = replace(context, requests=(longer,), load_dense=lambda: context.session, dense={"latency": 2.0})
    assert OBJECTIVES.get("latency", where="x")().measure(artifact, twin).value > 2.6


class Clocked:
    """Takes a millisecond for each token, on a clock of its own."""

    threads, now = 1, 0.0

    def run(self, batch: Batch) -> None:
        Clocked.now += batch["input_ids"].shape[1] / 1e3


def test_the_latency_of_several_lengths_is_their_mean(
    measured: dict[str, tuple[Artifact, Context]], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, context = measured["dense"]
    clock = SimpleNamespace(perf_counter=lambda: Clocked.now)
    monkeypatch.setattr("slimfront.objectives.stopwatch.time", clock)
    (short,) = context.requests
    width = short["input_ids"].shape[1]
    asked = (short, {name: np.tile(values, (1, 6)) for name, values in short.items()})
    objective, session = OBJECTIVES.get("latency", where="x")(), cast(Session, Clocked())
    dense = replace(context, session=session, requests=asked, dense_requests=asked)
    found = objective.measure(artifact, dense)
    assert found.value == pytest.approx(3.5 * width) and found.steer == 1.0 and not found.percentiles
    assert found.conditions["tokens"] == [width, 6 * width] and found.conditions["threads"] == 1
    # Of the mean, whatever the lengths: here those of a model that reads the same texts as twice as many tokens.
    longer = tuple({name: np.tile(values, (1, 2)) for name, values in batch.items()} for batch in asked)
    twin = replace(dense, requests=longer, load_dense=lambda: session, dense={"latency": 2.0})
    assert objective.measure(artifact, twin).value == pytest.approx(4.0)


def test_a_download_is_what_zstandard_leaves(measured: dict[str, tuple[Artifact, Context]]) -> None:
    import zstandard

    for artifact, context in measured.values():
        found = OBJECTIVES.get("download", where="x")().measure(artifact, context)
        total = 0
        for name in artifact.files:
            packed = zstandard.ZstdCompressor(level=3).compress((artifact.folder / name).read_bytes())
            assert zstandard.ZstdDecompressor().decompress(packed) == (artifact.folder / name).read_bytes()
            total += len(packed)
        assert found.value == total < artifact.size() and found.interval is None


def test_divergence_by_hand(measured: dict[str, tuple[Artifact, Context]]) -> None:
    artifact, context = measured["small"]
    dense, own = context.dense_logits, context.logits()
    assert dense is not None
    expected = torch.nn.functional.kl_div(
        torch.from_numpy(own).double().log_softmax(1),
        torch.from_numpy(dense).double().log_softmax(1),
        log_target=True,
        reduction="batchmean",
    )
    found = OBJECTIVES.get("divergence", where="x")().measure(artifact, context)
    assert found.value == pytest.approx(float(expected), rel=1e-6) and found.value > 0
    twin = replace(context, dense_logits=own)
    assert OBJECTIVES.get("divergence", where="x")().measure(artifact, twin).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["f1", "mcc"])
def test_metrics_are_those_of_scikit_learn(name: str, measured: dict[str, tuple[Artifact, Context]]) -> None:
    from sklearn.metrics import f1_score, matthews_corrcoef

    for artifact, context in measured.values():
        labels, predictions = context.examples.labels, context.predictions()
        plain = {
            "f1": f1_score(labels, predictions, average="macro", zero_division=0.0),
            "mcc": matthews_corrcoef(labels, predictions),
        }
        found = OBJECTIVES.get(name, where="x")().measure(artifact, context)
        assert found.value == pytest.approx(plain[name], abs=1e-12)
        # The spread of the metric over examples drawn anew, found the long way.
        rng, drawn = np.random.default_rng(1), []
        for _ in range(300):
            rows = rng.integers(len(labels), size=len(labels))
            score = {"f1": lambda a, b: f1_score(a, b, average="macro", zero_division=0.0), "mcc": matthews_corrcoef}
            drawn.append(score[name](labels[rows], predictions[rows]))
        assert found.interval == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.1)
