"""What a study would search, without searching: ``validate``, ``plan`` and ``doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from typing import Any

import torch
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.search.engines import ENGINES
from slimfront.search.naming import check_names
from slimfront.search.preparation import anatomy_on, lay_space
from slimfront.search.samplers import SAMPLERS
from slimfront.search.tournament import lengths
from slimfront.spaces.axes.bits import STATIC, offers
from slimfront.spaces.space import Space
from slimfront.studies.cache import cache_root
from slimfront.studies.errors import SlimfrontError
from slimfront.studies.processor import processor_has, processor_name
from slimfront.studies.schema import Study, TargetSpec
from slimfront.studies.subject import Subject, load_subject
from slimfront.studies.threads import torch_threads

LIBRARIES = (
    *("torch", "transformers", "datasets", "scikit-learn", "safetensors", "optuna", "ray", "openvino"),
    *("moocore", "zstandard", "pydantic", "ruamel.yaml", "typer", "rich", "matplotlib"),
)
# What a target, an exporter or a tracker needs beyond them.
EXTRAS = (
    *("onnx", "onnxruntime", "onnxscript", "torchao", "compressed-tensors", "executorch"),
    *("mlflow-skinny", "optuna-dashboard", "psycopg", "nvidia-ml-py"),
)
# What decides how fast few bits are.
INSTRUCTIONS = (
    "avx2",
    "avx512_f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "bf16",
    "sve",
)


def check(study: Study) -> tuple[Study, Subject, Space]:
    """Load everything that a study names, without training anything.

    Raises:
        StudyError: something in it is wrong.
        MissingError: something is not installed.
    """
    check_names(study)
    with torch_threads(1):
        subject = load_subject(study)
        _runtime, space = lay_space(study, anatomy_on(study, subject))
    return study, subject, space


def describe_plan(study: Study, subject: Subject, space: Space) -> list[str]:
    """Return the plan of a search in lines."""
    parameters = sum(p.numel() for p in subject.module.parameters())
    uniform, trials = len(space.uniform()), study.search.trials
    tokens = ", ".join(str(length) for length in lengths(study, subject, study.target.batch))
    lines = [
        f"study       {study.name}",
        f"model       {type(subject.module).__name__}, {parameters / 1e6:.2f} M parameters,"
        f" {parameters * 4 / 1e6:.1f} MB in fp32",
        f"data        train {len(subject.train)}, search {len(subject.search)}, held out {len(subject.held_out)};"
        f" labels {', '.join(subject.texts.labels)}; {len(subject.texts.unlabelled)} texts without a label",
        *(
            f"  {count} text(s) of the split {one} stand in {other}, too"
            for (one, other), count in subject.texts.shared().items()
        ),
        f"dense       {study.train.method if study.train.method != 'none' else 'the checkpoint as it is'}",
        *(
            [f"unlabelled  {len(subject.texts.unlabelled)} texts to learn from"]
            if len(subject.texts.unlabelled)
            else []
        ),
        f"tokens      at most {study.model.max_tokens} of a text",
        f"target      {study.target.runtime}, {study.target.threads} thread(s), batch {study.target.batch},"
        f" {tokens} tokens; precisions {', '.join(space.capabilities.precisions)}",
        f"objectives  {', '.join(study.objectives)}",
        *(f"constraint  {name} {text}" for name, text in study.constraints.items()),
        f"search      {study.search.sampler}, {trials} trials, of them dense and {min(uniform, trials) - 1} of"
        f" {uniform - 1} uniform settings first; {study.search.workers} worker(s), seed {study.search.seed}",
        *(["  the sampler's turn never comes: give it more trials"] if trials <= uniform else []),
        f"space       {len(space.free)} parameters, {space.points:.3g} points",
    ]
    lines += [
        f"  {name:<60} {', '.join(map(str, domain.values))}{_kept(space, name)}" for name, domain in space.free.items()
    ]
    lines += [f"  {name:<60} {value}, fixed" for name, value in space.fixed.items()]
    lines += [
        f"  left out: precision {name}: this machine does not compute in it"
        for name in study.space.precision or ()
        if name not in space.capabilities.precisions
    ]
    lines += [
        f"  left out: {level} bits: {study.target.runtime} does not {'run' if level in STATIC else 'pack'} them"
        for level in (study.space.bits.levels or () if study.space.bits else ())
        if level not in offers(space.capabilities)
    ]
    lines += [f"  left out: {name}: {reason}" for name, reason in space.anatomy.refused.items()]
    return lines


def _kept(space: Space, name: str) -> str:
    """Return how many heads or neurons of a block each share leaves: whole ones, and neurons in multiples of 64."""
    if not name.startswith("sparsity/"):
        return ""
    scores = {structure.name: torch.arange(structure.units).float() for structure in space.anatomy.structures}
    drafts = [
        space.draft(scores, space.canonical({**space.dense(), name: value})) for value in space.domains[name].values
    ]
    cut = next((structure for structure in space.anatomy.structures if structure.name in drafts[-1].kept), None)
    if cut is None:
        return ""
    return f" (keeps {', '.join(str(draft.kept.get(cut.name, cut.units)) for draft in drafts)} of {cut.units})"


def describe_machine() -> tuple[list[str], list[str]]:
    """Return what this machine has, in lines, and what it lacks."""
    lines, missing = [], []
    for name in ("slimfront", *LIBRARIES):
        try:
            lines.append(f"{name:<14} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            lines.append(f"{name:<14} missing: pip install {name}")
    lines.append(f"{'extras':<14} {', '.join(_extras())}")
    lines.append(f"{'processor':<14} {processor_name()}: {', '.join(processor_has(INSTRUCTIONS)) or 'unknown'}")
    lines.append(f"{'python':<14} {platform.python_version()} on {platform.system()} {platform.machine()}")
    lines.append(
        f"{'cores':<14} {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"
    )
    lines.append(f"{'cache':<14} {cache_root()}")
    for name in RUNTIMES:
        try:
            lines.append(f"target {name:<11} {_capabilities(name)}")
        except SlimfrontError as error:
            lines.append(f"target {name:<11} {error.message}; {error.hint}")
    lines.append(f"{'engines':<14} {', '.join(ENGINES)}")
    lines.append(f"{'samplers':<14} {', '.join(SAMPLERS)}")
    return lines, missing


def _extras() -> Iterator[str]:
    """Yield the extras with their versions."""
    for name in EXTRAS:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} –"


def _capabilities(name: str) -> Any:
    found = RUNTIMES.get(name, where="target.runtime")(TargetSpec()).supports()
    bits = ", ".join(map(str, reversed(offers(found))))
    return f"packs {bits} bits; precisions {', '.join(found.precisions)}"
