"""The order of a vocabulary, and a model under it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Capabilities
from slimfront.studies.encoding import Encoded
from slimfront.studies.errors import StudyError
from slimfront.studies.renumbering import renumbered
from slimfront.studies.vocabulary import Ranking, Vocabulary, delicate, find_table, rank, reorder
from transformers import PreTrainedTokenizerFast

from tests.conftest import DECODERS, ENCODERS, codes_of, cut_copy, example_inputs, make_encoder
from tests.studies.test_renumbering import KINDS, TEXTS, make_tokenizer

TABLES = {
    "bert": "bert.embeddings.word_embeddings.weight",
    "distilbert": "distilbert.embeddings.word_embeddings.weight",
    "roberta": "roberta.embeddings.word_embeddings.weight",
    "modernbert": "model.embeddings.tok_embeddings.weight",
    "mpnet": "mpnet.embeddings.word_embeddings.weight",
    "gpt2": "transformer.wte.weight",
    "llama": "model.embed_tokens.weight",
}


class Summed(torch.nn.Module):
    """Looks ids up in some tables."""

    def __init__(self, *names: str, rows: int) -> None:
        super().__init__()
        for name in names:
            self.add_module(name, torch.nn.Embedding(rows, 4))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return torch.stack([table(input_ids) for table in self.children()]).sum(0)


@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
def test_a_model_in_another_order_computes_the_same(kind: str) -> None:
    module, inputs = make_encoder(kind), example_inputs()
    table = find_table(module, inputs)
    assert table == TABLES[kind]
    config = module.config
    # The padding token keeps its place, as a ranking sees to it: some models add its id to positions.
    fixed, rows = config.pad_token_id or 0, len(module.get_parameter(table))
    others = np.random.default_rng(0).permutation(np.setdiff1d(np.arange(rows), [fixed]))
    order = np.insert(others, fixed, fixed)
    with torch.no_grad():
        before = module(**inputs).logits
        end = config.eos_token_id
        reorder(module, Ranking(Vocabulary(table, rows, 4), order, rows))
        places = torch.from_numpy(np.argsort(order))
        after = module(**{**inputs, "input_ids": places[inputs["input_ids"]]}).logits
        wrong = module(**inputs).logits
    assert torch.allclose(before, after, atol=1e-6) and not torch.allclose(before, wrong, atol=1e-3)
    assert end is None or order[config.eos_token_id] == end


@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
def test_a_smaller_table_gives_what_the_whole_one_gives(kind: str) -> None:
    module, inputs = make_encoder(kind), example_inputs()
    table = find_table(module, inputs)
    anatomy = replace(walk(module, inputs), vocabulary=Vocabulary(table, 120, 44))
    draft = Draft(anatomy, {}, Capabilities((32,), (64,), ("f32",)), "f32", rows=50)
    smaller = cut_copy(draft, module, codes_of(module, draft.capabilities))
    assert len(smaller.get_parameter(table)) == 50
    with torch.no_grad():
        assert torch.allclose(smaller(**inputs).logits, module(**inputs).logits, atol=1e-6)


def test_a_decoder_finds_its_padding_in_another_place() -> None:
    module, inputs = make_encoder("gpt2"), example_inputs()
    module.config.pad_token_id = 119
    padded = {**inputs, "input_ids": torch.where(inputs["attention_mask"] == 0, 119, inputs["input_ids"])}
    order = np.roll(np.arange(120), 1)
    with torch.no_grad():
        before = module(**padded).logits
        reorder(module, Ranking(Vocabulary(TABLES["gpt2"], 120, 4), order, 120))
        after = module(**{**padded, "input_ids": (padded["input_ids"] + 1) % 120}).logits
    assert module.config.pad_token_id == 0 and torch.allclose(before, after, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_frequent_tokens_come_before_rare_ones_and_after_their_parts(kind: str) -> None:
    tokenizer = make_tokenizer(kind)
    rows = len(tokenizer) + 5
    module = Summed("table", rows=rows)
    read = tuple({"input_ids": tokenizer(text)["input_ids"]} for text in [*TEXTS, "film film film"])
    texts = Encoded.of(read, np.zeros(len(read), dtype=np.int64), {"input_ids": 0})
    example = {"input_ids": torch.tensor([read[0]["input_ids"]])}
    found = rank(module, tokenizer, example, texts)
    assert found.vocabulary.table == "table.weight" and found.vocabulary.rows == rows
    assert sorted(found.order.tolist()) == list(range(rows)) and found.tokens == len(tokenizer)
    assert set(found.order[-5:]) == set(range(rows - 5, rows))
    required = set(found.order[: found.vocabulary.required].tolist())
    assert set(tokenizer.all_special_ids) <= required < set(found.order.tolist())
    # What only the backend knows stays, too.
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]")
    kept = rank(module, bare, example, texts)
    assert set(tokenizer.all_special_ids) <= set(kept.order[: kept.vocabulary.required].tolist())
    assert all(found.order[i] == i for i in tokenizer.all_special_ids)
    names = tokenizer.get_vocab()
    singles = {names[c] for c in "abcdefghi" if c in names}
    assert singles <= required
    counts = np.bincount(np.concatenate([row["input_ids"] for row in read]), minlength=rows)
    tail = counts[found.order[found.vocabulary.required :]]
    if kind in ("wordpiece", "words", "unigram"):
        assert (np.diff(tail) <= 0).all() and tail[0] > 0
    # Whatever number of rows is kept, texts of the kept tokens are read as before.
    for kept in range(found.vocabulary.required, found.tokens, 7):
        smaller = renumbered(tokenizer, found.order[:kept])
        for text in TEXTS:
            old = tokenizer(text)["input_ids"]
            if set(old) <= set(found.order[:kept].tolist()):
                assert found.order[smaller(text)["input_ids"]].tolist() == old


def test_a_model_with_two_tables_is_refused() -> None:
    module = Summed("one", "other", rows=9)
    with pytest.raises(StudyError, match="one embedding table"):
        find_table(module, {"input_ids": torch.tensor([[1, 2]])})


@pytest.mark.parametrize("padding", range(6, 28, 3))
def test_a_model_that_still_takes_another_token_for_its_padding_is_found_out(padding: int) -> None:
    """RoBERTa counts positions from its padding token's id, which only the first rows can keep."""
    module, inputs = make_encoder("roberta"), example_inputs()
    module.config.pad_token_id = module.roberta.embeddings.padding_idx = padding
    module.roberta.embeddings.word_embeddings.padding_idx = padding
    order = np.array([padding, *(row for row in range(120) if row != padding)])
    ranking = Ranking(Vocabulary(TABLES["roberta"], 120, 4), order, 120)
    batch = delicate(module, SimpleNamespace(all_special_ids=[padding]), ranking, inputs)
    with torch.no_grad():
        before = module(**batch).logits
        reorder(module, ranking)
        places = torch.from_numpy(np.argsort(order))
        after = module(**{**batch, "input_ids": places[batch["input_ids"]]}).logits
    assert not torch.allclose(before, after, rtol=1e-5, atol=1e-6)
