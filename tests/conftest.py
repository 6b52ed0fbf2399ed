"""Small real models and texts that every test may use."""

from __future__ import annotations

import copy
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

DECODERS = ("gpt2", "llama")
ENCODERS = ("bert", "distilbert", "roberta", "modernbert", "mpnet")
GOOD = ["brilliant", "warm", "funny", "clever", "moving", "fresh", "superb", "lovely"]
BAD = ["dull", "cold", "tedious", "clumsy", "boring", "stale", "awful", "ugly"]
# Files that take minutes begin first: begun last, each would keep the other process waiting for it.
LONGEST = (
    "test_readme",
    "test_search",
    "test_targets",
    "test_going_on",
    "test_guide",
    "test_cli",
    "test_runtime",
    "test_ray",
)
PLAIN = ["the", "film", "a", "story", "with", "actor", "scene", "and", "camera", "this", "movie", "plot"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One cache for all tests, which may run in several processes: what one of them measured serves the others."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIMFRONT_CACHE", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"))
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _brief() -> Iterator[None]:
    """Preparations in this process and its forks; a nursery's see to that themselves."""
    from tests.haste import hurry

    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        yield


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time layers and models as a user's search does."""
    from tests.haste import take_time

    take_time(monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def _forked_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Workers that have their libraries already; only Linux has the sockets that ask for them."""
    if sys.platform != "linux":
        yield
        return
    from tests.nursery import forked_workers

    with forked_workers(tmp_path_factory.getbasetemp() / "nursery"):
        yield


@pytest.fixture(autouse=True)
def _own_floats() -> Iterator[None]:
    """Undo what a worker sets for its whole process: hypothesis, for one, asks for the smallest floats."""
    yield
    torch.set_flush_denormal(False)


def write_reviews(path: Path, rows: int = 400) -> Path:
    """Write a CSV of made-up reviews whose words tell the label, grouped by film."""
    rng = random.Random(0)
    lines = ["text,label,film"]
    for number in range(rows):
        good = rng.random() < 0.5
        words = rng.choices(PLAIN, k=rng.randint(7, 12)) + rng.choices(GOOD if good else BAD, k=2)
        rng.shuffle(words)
        lines.append(f"{' '.join(words)},{'fresh' if good else 'rotten'},film {number % 60}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_tokenizer(folder: Path) -> Any:
    """Write a word-level tokenizer over the reviews' words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({*GOOD, *BAD, *PLAIN})]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(str(folder))
    return fast


def make_encoder(kind: str, blocks: int = 2, hidden: int = 96, heads: int = 3, neurons: int = 192) -> Any:
    """Return a small encoder with random weights and a classification head, in evaluation mode."""
    import transformers as t
    from slimfront.studies.models import with_linear_layers

    common = {
        "hidden_size": hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "intermediate_size": neurons,
        "vocab_size": 120,
        "num_labels": 2,
    }
    distil = {"dim": hidden, "n_layers": blocks, "n_heads": heads, "hidden_dim": neurons, "vocab_size": 120}
    gpt = {"n_embd": hidden, "n_layer": blocks, "n_head": heads, "n_inner": neurons, "vocab_size": 120, "num_labels": 2}
    gpt |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "use_cache": False}
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    configs: dict[str, Callable[[], Any]] = {
        "bert": lambda: t.BertForSequenceClassification(t.BertConfig(**common)),
        "distilbert": lambda: t.DistilBertForSequenceClassification(t.DistilBertConfig(**distil)),
        "roberta": lambda: t.RobertaForSequenceClassification(t.RobertaConfig(**common, pad_token_id=0)),
        "modernbert": lambda: t.ModernBertForSequenceClassification(t.ModernBertConfig(**common, **special)),
        "gpt2": lambda: with_linear_layers(t.GPT2ForSequenceClassification(t.GPT2Config(**gpt))),
        "llama": lambda: t.LlamaForSequenceClassification(t.LlamaConfig(**common, use_cache=False, pad_token_id=0)),
        "mpnet": lambda: t.MPNetForSequenceClassification(t.MPNetConfig(**common)),
    }
    torch.manual_seed(0)
    return configs[kind]().eval()


def codes_of(module: Any, capabilities: Any) -> Callable[..., Any]:
    """Return a source of weights that quantizes whatever it is asked for."""
    from slimfront.spaces.masks import MASKS
    from slimfront.spaces.quantizers import QUANTIZERS
    from slimfront.spaces.quantizers.clipped import Symmetric
    from slimfront.spaces.quantizers.quantizer import group_size
    from slimfront.spaces.ranges import fitted

    quantizer, weights = QUANTIZERS.get("affine", where="x")(), dict(module.named_parameters())

    def codes(name: str, bits: int, columns: torch.Tensor | None, zeros: Any = None, static: bool = False) -> Any:
        weight = weights[name].detach() if columns is None else weights[name].detach()[:, columns]
        if zeros:
            weight = MASKS.get("magnitude", where="x")().thin(weight, zeros)
        if bits >= 16:
            return weight
        group = group_size(weight.shape[1], bits, capabilities, static)
        return (
            replace(Symmetric().quantize(weight, bits, group), reads=fitted(-0.25, 0.35))
            if static
            else quantizer.quantize(weight, bits, group)
        )

    return codes


def cut_copy(draft: Any, module: Any, codes: Any) -> Any:
    """Return a copy of a module, in floats, from which all that a draft removes is really gone."""
    from slimfront.spaces.surgery import remove_units

    cut = copy.deepcopy(module)
    for s in draft.cut():
        remove_units(cut, s.producers, s.consumer, s.units, s.size, draft.keep[s.name], s.recipe)
    for block in draft.gone():
        block.remove(cut)
    for name, value in draft.floats(module, codes, draft.slices().keys()).items():
        cut.get_parameter(name).data = value.clone()
    return cut


def example_inputs() -> dict[str, torch.Tensor]:
    """Return a small padded batch."""
    ids = torch.randint(4, 40, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 6:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("data") / "reviews.csv")


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that writes an encoder and its tokenizer into a folder, once per kind."""
    root = tmp_path_factory.mktemp("models")

    def write(kind: str) -> Path:
        folder = root / kind
        if not folder.exists():
            model = make_encoder(kind)
            model.save_pretrained(str(folder))
            write_tokenizer(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def study_data(reviews: Path, encoder_folder: Callable[[str], Path]) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a small study as plain data."""

    def make(kind: str = "bert", **search: Any) -> dict[str, Any]:
        return {
            "name": "small",
            "model": {"path": str(encoder_folder(kind)), "max_tokens": 16},
            "data": {
                "path": str(reviews),
                "text": "text",
                "label": "label",
                "group": "film",
                "splits": {"train": 200, "search": 80, "held_out": 80},
            },
            "train": {"method": "fine-tune", "epochs": 2, "learning_rate": 1e-3, "freeze_embeddings": False},
            "target": {"tokens": 12},
            "space": {
                "sparsity": {"granularity": "role", "levels": [0.0, 0.5], "rows": 32},
                "bits": {"granularity": "role", "levels": [4, 8, 32]},
                "distillation": {"steps": [0, 2], "temperature": [1.0, 4.0], "weight": [0.5]},
            },
            "search": {"trials": 5, "sampler": "random", **search},
        }

    return make


@pytest.fixture
def study_file(tmp_path: Path, study_data: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """Return a function that writes a small study file (JSON is YAML)."""

    def write(kind: str = "bert", **search: Any) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(json.dumps(study_data(kind, **search), indent=1))
        return path

    return write
