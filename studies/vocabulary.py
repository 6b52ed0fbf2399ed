"""The order in which a model can do without the tokens of its vocabulary."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from slimfront.studies.encoding import Encoded
from slimfront.studies.errors import StudyError
from slimfront.studies.renumbering import Json, Order, added, parts_of, state_of
from torch import nn

Inputs = Mapping[str, torch.Tensor]
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# What marks a piece's place in its word.
MARKS = ("##", "\u2581", "</w>")


@dataclass(frozen=True)
class Vocabulary:
    """The embedding table of a model's tokens.

    Attributes:
        table: Name of its parameter.
        rows: Its rows.
        required: So many tokens always stay: special ones, and the bytes, printable ASCII and characters of the texts
            by which other words are read.
    """

    table: str
    rows: int
    required: int


@dataclass(frozen=True)
class Ranking:
    """A vocabulary and the order of its rows.

    Attributes:
        vocabulary: The vocabulary.
        order: Old rows, ``(rows,)``: those that always stay, then the most frequent ones of the texts, then those that
            the texts lack in their old order, which tokenizers give by frequency; rows without a token come last.
            Whatever number of first rows is kept, the parts of each merged token are among them.
        tokens: How many of the rows have a token.
    """

    vocabulary: Vocabulary
    order: Order
    tokens: int


def rank(module: nn.Module, tokenizer: Any, example: Inputs, texts: Encoded) -> Ranking:
    """Rank a model's vocabulary.

    Args:
        module: The model.
        tokenizer: Its tokenizer.
        example: A small real batch, ``(rows, tokens)`` each.
        texts: Texts like those that the model is going to read.

    Raises:
        StudyError: the model or its tokenizer has no vocabulary that can be cut.
    """
    table = find_table(module, example)
    rows = len(module.get_parameter(table))
    state, ids = state_of(tokenizer), tokenizer.get_vocab()
    counts = np.bincount(texts.columns["input_ids"], minlength=rows)
    tokens = {old: token for token, old in ids.items() if old < rows}
    parts = parts_of(state["model"], ids)
    frequent = sorted(tokens, key=lambda old: (-counts[old], old))
    special = {*tokenizer.all_special_ids, *(ids[token] for token in added(state) if token in ids)}
    characters = _characters(tokens, counts)
    needed = [old for old in frequent if old in special or _elementary(tokens[old], state, characters)]
    required = closed(needed, parts)
    order = closed([*_in_place(required, special), *frequent], parts)
    unused = sorted(set(range(rows)) - tokens.keys())
    return Ranking(Vocabulary(table, rows, len(required)), np.array([*order, *unused]), len(order))


def reorder(module: nn.Module, ranking: Ranking) -> None:
    """Put a module's vocabulary into the ranking's order, in place; ids that its configuration names follow."""
    parameter = module.get_parameter(ranking.vocabulary.table)
    parameter.data = parameter.data[torch.from_numpy(ranking.order)]
    places = np.argsort(ranking.order)
    embedding: Any = module.get_submodule(ranking.vocabulary.table.rpartition(".")[0])
    if embedding.padding_idx is not None:
        embedding.padding_idx = int(places[embedding.padding_idx])
    config: Any = getattr(module, "config", None)
    for name, value in list(vars(config).items()) if config is not None else ():
        if name.endswith("_token_id") and type(value) is int and 0 <= value < len(places):
            setattr(config, name, int(places[value]))


def delicate(module: nn.Module, tokenizer: Any, ranking: Ranking, example: Inputs) -> Inputs:
    """Return a text in which a reordered model shows whether it knows ids that it should have forgotten.

    It holds the tokens that a model may know by their ids, and those that come to stand in their places.

    Args:
        module: The model before it is reordered.
        tokenizer: Its tokenizer.
        ranking: The order that it is going to have.
        example: A batch, of which the first text's ends are taken.
    """
    named = [value for name, value in vars(getattr(module, "config", object)).items() if name.endswith("_token_id")]
    paddings = [part.padding_idx for part in module.modules() if isinstance(part, nn.Embedding)]
    known = {value for value in (*named, *paddings, *tokenizer.all_special_ids) if type(value) is int}
    known = {value for value in known if 0 <= value < len(ranking.order)}
    middle = sorted({*known, *ranking.order[sorted(known)].tolist()})
    ids = example["input_ids"][:1]
    texts = [torch.cat([ids[:, :1], torch.tensor([[token]]), ids[:, 1:3]], dim=1) for token in middle]
    batch = torch.cat(texts)
    return {"input_ids": batch, **{name: torch.ones_like(batch) for name in example if name == "attention_mask"}}


def find_table(module: nn.Module, example: Inputs) -> str:
    """Return the name of the one embedding table that a module looks its token ids up in.

    Raises:
        StudyError: there is none, or there are several.
    """
    found: list[str] = []

    def look(name: str, read: torch.Tensor) -> None:
        if read.shape == example["input_ids"].shape and torch.equal(read, example["input_ids"]):
            found.append(f"{name}.weight")

    hooks = [
        part.register_forward_pre_hook(lambda _part, args, name=name: look(name, args[0]))
        for name, part in module.named_modules()
        if isinstance(part, nn.Embedding)
    ]
    try:
        with torch.no_grad():
            module(**example)
    finally:
        for hook in hooks:
            hook.remove()
    if len(found) != 1:
        raise StudyError(
            "the vocabulary cannot be cut: the model does not look its tokens up in one embedding table",
            where="space.vocabulary",
            given=", ".join(found) or "none",
            hint="remove space.vocabulary",
        )
    return found[0]


def _characters(tokens: Mapping[int, str], counts: Order) -> frozenset[str]:
    """Return printable ASCII and all characters of the tokens that were seen."""
    return frozenset(string.printable).union(*(token for old, token in tokens.items() if counts[old]))


def _elementary(token: str, state: Json, characters: frozenset[str]) -> bool:
    """Return whether a token is a single character or byte, by which words are read whose own token is gone."""
    from tokenizers.pre_tokenizers import ByteLevel

    if BYTE.fullmatch(token):
        return True
    if _reads_bytes(state):
        return token in ByteLevel.alphabet()
    for mark in MARKS:
        token = token.removeprefix(mark).removesuffix(mark)
    return token in characters


def _reads_bytes(state: Json) -> bool:
    steps = [state.get("pre_tokenizer") or {}, state.get("decoder") or {}]
    steps += [part for step in steps for part in step.get("pretokenizers", ())]
    return any(step.get("type") == "ByteLevel" for step in steps)


def closed(order: Iterable[int], parts: Mapping[int, tuple[int, int]]) -> list[int]:
    """Return an order without duplicates in which the parts of each token stand before it."""
    placed: dict[int, None] = {}
    for token in order:
        waiting = [token]
        while waiting:
            missing = [part for part in parts.get(waiting[-1], ()) if part not in placed]
            if missing:
                waiting += missing
            else:
                placed[waiting.pop()] = None
    return list(placed)


def _in_place(order: list[int], special: set[int]) -> list[int]:
    """Return an order in which special tokens keep their ids where these are low enough.

    Some models add the padding token's id to their positions.
    """
    fixed = {old for old in special if old < len(order)}
    others = iter([old for old in order if old not in fixed])
    return [place if place in fixed else next(others) for place in range(len(order))]
