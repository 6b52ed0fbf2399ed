"""Tokenizers under other token ids, and without some of their tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from slimfront.studies.errors import StudyError

Json = dict[str, Any]
Ids = Mapping[str, int]
Order = npt.NDArray[np.int64]
# What Transformers itself adds to the backend.
KEPT = ("model_max_length", "padding_side", "truncation_side", "model_input_names", "clean_up_tokenization_spaces")
# Added to the lowest log probability of a unigram vocabulary: no text is read as such a piece.
IMPOSSIBLE = -10.0


def state_of(tokenizer: Any) -> Json:
    """Return all that decides a tokenizer's answers, as its backend writes it down.

    Raises:
        StudyError: it has no backend, or one with parts of its own, or tokens that cannot be renumbered.
    """
    try:
        state: Json = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:
        raise _unfit(type(tokenizer).__name__) from None
    if state["model"].get("type") not in MODELS:
        raise _unfit(str(state["model"].get("type")))
    own = tokenizer.get_vocab()
    known = state["model"]["vocab"]
    known = set(known) if isinstance(known, dict) else {token for token, _ in known}
    for entry in state["added_tokens"]:
        if entry["single_word"] and entry["content"] in own and entry["content"] not in known:
            # Renumbered, it stands among the model's own tokens, where it would be read inside of words, too.
            raise _unfit(f"an added token that is a single word, {entry['content']!r}")
    return state


def added(state: Json) -> Iterator[str]:
    """Yield the tokens that a tokenizer's backend itself puts in or takes for others."""
    for entry in state["added_tokens"]:
        yield entry["content"]
    model = state["model"]
    if model.get("unk_token"):
        yield model["unk_token"]
    if model.get("unk_id") is not None:
        yield model["vocab"][model["unk_id"]][0]
    yield from _put_in(state["post_processor"] or {})


def _put_in(processor: Json) -> Iterator[str]:
    for part in processor.get("processors", ()):
        yield from _put_in(part)
    if isinstance(processor.get("special_tokens"), dict):
        for entry in processor["special_tokens"].values():
            yield from entry["tokens"]
    for name in ("cls", "sep"):
        if isinstance(processor.get(name), list):
            yield processor[name][0]


def _unfit(given: str) -> StudyError:
    return StudyError(
        "this kind of tokenizer cannot be given another vocabulary",
        where="space.vocabulary",
        given=given,
        allowed=f"a fast tokenizer of the kinds {', '.join(MODELS)}",
        hint="remove space.vocabulary",
    )


def renumbered(tokenizer: Any, order: Order) -> Any:
    """Return a tokenizer that gives token ``order[i]`` the id ``i`` and has forgotten all others.

    A word whose token it forgot is read as smaller pieces, or as the unknown token where there are none.

    Args:
        tokenizer: A Transformers tokenizer.
        order: Old ids by new id, ``(tokens,)``; the parts of a merged token stand before it.

    Raises:
        StudyError: tokenizers of this kind cannot be renumbered.
    """
    state, places = state_of(tokenizer), {int(old): new for new, old in enumerate(order)}
    ids = {token: places[old] for token, old in tokenizer.get_vocab().items() if old in places}
    state["model"] = MODELS[state["model"]["type"]](state["model"], ids)
    state["added_tokens"] = [{**t, "id": ids[t["content"]]} for t in state["added_tokens"] if t["content"] in ids]
    state["post_processor"] = _processor(state["post_processor"], ids)
    # Each call sets them anew.
    state["truncation"] = state["padding"] = None
    return with_backend(tokenizer, json.dumps(state))


def with_backend(tokenizer: Any, state: str) -> Any:
    """Return a tokenizer with another backend, which is given as it is written down."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(state),
        **{name: getattr(tokenizer, name) for name in KEPT if hasattr(tokenizer, name)},
        **tokenizer.special_tokens_map,
    )


def _by_name(model: Json, ids: Ids) -> Json:
    """Renumber a WordPiece or WordLevel model: a map from tokens to ids."""
    return {**model, "vocab": dict(sorted(ids.items(), key=lambda item: item[1]))}


def _by_merges(model: Json, ids: Ids) -> Json:
    """Renumber a byte-pair model: merges need their parts and what they make."""
    merges = [pair for pair in model["merges"] if all(token in ids for token in (*_pair(pair), _merged(model, pair)))]
    return {**_by_name(model, ids), "merges": merges}


def _by_score(model: Json, ids: Ids) -> Json:
    """Renumber a unigram model: a list of tokens and log probabilities, whose positions are the ids."""
    scores = dict(model["vocab"])
    lowest = min(scores.values()) + IMPOSSIBLE
    vocabulary = [[token, scores.get(token, lowest)] for token in sorted(ids, key=ids.__getitem__)]
    unknown = model.get("unk_id")
    return {
        **model,
        "vocab": vocabulary,
        "unk_id": None if unknown is None else ids.get(model["vocab"][unknown][0]),
    }


MODELS: Mapping[str, Callable[[Json, Ids], Json]] = {
    "WordPiece": _by_name,
    "WordLevel": _by_name,
    "BPE": _by_merges,
    "Unigram": _by_score,
}


def parts_of(model: Json, ids: Ids) -> dict[int, tuple[int, int]]:
    """Return the two tokens of which each merged token is made first."""
    found: dict[int, tuple[int, int]] = {}
    for pair in model.get("merges", ()):
        left, right = _pair(pair)
        made = _merged(model, pair)
        if made in ids and left in ids and right in ids:
            found.setdefault(ids[made], (ids[left], ids[right]))
    return found


def _pair(pair: str | list[str]) -> tuple[str, str]:
    """Return the two parts of a merge, in whichever of the two ways it is written down."""
    left, right = pair.split(" ") if isinstance(pair, str) else pair
    return left, right


def _merged(model: Json, pair: str | list[str]) -> str:
    """Return the token that a merge makes."""
    left, right = _pair(pair)
    return left + right.removeprefix(model.get("continuing_subword_prefix") or "")


def _processor(processor: Json | None, ids: Ids) -> Json | None:
    """Renumber the tokens that a post-processor adds."""
    if processor is None:
        return None
    found = dict(processor)
    if "processors" in found:
        found["processors"] = [_processor(part, ids) for part in found["processors"]]
    if isinstance(found.get("special_tokens"), dict):
        found["special_tokens"] = {
            name: {**entry, "ids": [ids[token] for token in entry["tokens"]]}
            for name, entry in found["special_tokens"].items()
        }
    for name in ("cls", "sep"):
        if isinstance(found.get(name), list):
            found[name] = [found[name][0], ids[found[name][0]]]
    return found
