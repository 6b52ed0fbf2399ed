"""Damage as disks do it, and what may come of it."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slimfront.studies.errors import RecordsError

# Share of the full counts: 'make faults' sets 1.
SCALE = float(os.environ.get("SLIMFRONT_FAULTS", "0.1"))
BLOCK = 512


def scaled(count: int) -> int:
    """Return how many of so many cases are tried here."""
    return max(1, round(count * SCALE))


def rare(count: int) -> int:
    """Return how many of so many expensive cases are tried here: all in full, ever fewer below."""
    return max(2, round(count * SCALE**1.5))


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flip(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def zero(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data)) // BLOCK * BLOCK
    size = len(data[start : start + BLOCK])
    return data[:start] + bytes(size) + data[start + size :]


def swap(data: bytes, rng: random.Random) -> bytes:
    """Exchange two blocks, of the size of a database's pages where there is room for two."""
    size = 4096 if len(data) >= 8192 else max(1, min(BLOCK, len(data) // 2))
    one, other = sorted(rng.sample(range(len(data) // size), 2))
    blocks = [data[at * size : (at + 1) * size] for at in (one, other)]
    between = data[(one + 1) * size : other * size]
    return data[: one * size] + blocks[1] + between + blocks[0] + data[(other + 1) * size :]


def mutants(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield so many damaged copies of some bytes, none equal to them; half of them have one turned bit."""
    rng = random.Random(seed)
    yield "emptied", b""
    ways = (flip, cut, flip, zero, flip, swap)
    number = 1
    while number < count:
        way = ways[number % len(ways)]
        made = way(data, rng)
        # A block of zeros or two equal blocks were tried: nothing changed.
        made = flip(data, rng) if made == data else made
        yield way.__name__, made
        number += 1


def put(path: Path, data: bytes) -> None:
    """Put another file in a file's place: what was read of it may be mapped."""
    path.unlink()
    path.write_bytes(data)


def outcome(before: Any, read: Callable[[], Any]) -> str:
    """Return ``detected`` or ``same``: whether reading refuses what is damaged, or gives what it gave before.

    Raises:
        AssertionError: it gives something else.
    """
    try:
        found = read()
    except RecordsError as error:
        assert error.where or str(error), error
        return "detected"
    assert found == before, f"silently another content: {found!r:.400} instead of {before!r:.400}"
    return "same"


def try_all(path: Path, count: int, seed: int, read: Callable[[], Any]) -> Counter[str]:
    """Damage a file so many times, read each time, and put the file back; return how often what came of it."""
    whole = path.read_bytes()
    before, found = read(), Counter[str]()
    for number, (way, data) in enumerate(mutants(whole, count, seed)):
        put(path, data)
        try:
            found[outcome(before, read)] += 1
        except Exception as error:
            raise AssertionError(f"{path.name}, mutant {number} of seed {seed} ({way}): {error!r}") from error
        finally:
            put(path, whole)
    print(f"{path.name}: {dict(found)} of {count}")
    return found
