from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from slimfront.search.bank import Bank, Level
from slimfront.search.statistics import Calibration
from slimfront.spaces.masks import MASKS, Pattern
from slimfront.spaces.quantizers import QUANTIZERS
from slimfront.spaces.ranges import fitted
from slimfront.spaces.repair import repaired
from slimfront.studies.compressed import Capabilities

WEIGHTS = {name: torch.randn(48, 128, generator=torch.Generator().manual_seed(seed)) for seed, name in enumerate("abc")}
LEVELS = [Level(name, bits) for name in WEIGHTS for bits in (2, 4, 8)]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path))


def make(limit: int = 10**9, identity: str = "1" * 64) -> Bank:
    quantizer = QUANTIZERS.get("affine", where="x")()
    return Bank(WEIGHTS, identity, "affine", quantizer, Capabilities((2, 4, 8, 32), (64, 32), ("f32",)), limit)


def silent(_text: str, _share: float) -> None:
    pass


def files(bank: Bank) -> list[Path]:
    return sorted(bank.folder.glob("*.safetensors"))


def test_what_one_bank_made_another_only_reads() -> None:
    first, second = make(), make()
    first.fill(LEVELS, silent)
    assert first.made == len(LEVELS) == len(files(first))
    second.fill(LEVELS, silent)
    columns = torch.arange(64)
    first.codes("a", 4, columns)
    for level in LEVELS:
        ours, theirs = (bank.codes(level.name, level.bits, None) for bank in (first, second))
        assert torch.equal(ours.dequantize(), theirs.dequantize()) and ours.bits == theirs.bits == level.bits
    assert torch.equal(second.codes("a", 4, columns).dequantize(), first.codes("a", 4, columns).dequantize())
    assert second.made == 0 and first.made == len(LEVELS) + 1


def test_codes_are_the_quantizers_own() -> None:
    bank = make()
    columns = torch.arange(0, 128, 2)
    made = QUANTIZERS.get("affine", where="x")().quantize(WEIGHTS["b"][:, columns], 4, 64)
    assert torch.equal(bank.codes("b", 4, columns).dequantize(), made.dequantize())


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_damaged_entries_are_made_again(damage: str) -> None:
    bank = make()
    bank.fill(LEVELS, silent)
    before = {level: make().codes(level.name, level.bits, None).dequantize() for level in LEVELS}
    for path in files(bank):
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes({"cut": bytes(data[:200]), "flip": bytes(data), "empty": b"", "text": b"x" * 500}[damage])
    again = make()
    for level in LEVELS:
        assert torch.equal(again.codes(level.name, level.bits, None).dequantize(), before[level])
    assert again.made == len(LEVELS)
    healed = make()
    for level in LEVELS:
        healed.codes(level.name, level.bits, None)
    assert healed.made == 0


def test_fixed_ranges_lie_beside_their_codes(tmp_path: Path) -> None:
    ends = torch.stack([-torch.arange(128.0), 2 * torch.arange(128.0)])
    save_file({"a.weight/ends": ends, "a.weight": torch.eye(128)}, tmp_path / "calibration.safetensors")
    calibration = Calibration(tmp_path / "calibration.safetensors", "these sentences")

    def bank(data: str = calibration.data) -> Bank:
        weights = {"a.weight": WEIGHTS["a"]}
        return replace(make(), weights=weights, calibration=replace(calibration, data=data))

    first = bank()
    whole, cut = (first.codes("a.weight", 8, columns, None, True) for columns in (None, torch.arange(64)))
    plain = first.codes("a.weight", 8, None)
    assert whole.reads == fitted(-127.0, 254.0) and cut.reads == fitted(-63.0, 126.0) and plain.reads is None
    # One scale a row and no zero point: products are sums of integers.
    assert whole.scales.shape == (48, 1, 1) and set(whole.zero_points.flatten().tolist()) == {128}
    assert (whole.dequantize() - WEIGHTS["a"]).abs().max() <= whole.scales.max() * 0.6
    second = bank()
    again = second.codes("a.weight", 8, torch.arange(64), None, True)
    assert second.made == 0 and again.reads == cut.reads and torch.equal(again.codes, cut.codes)
    other = bank("other sentences")
    other.codes("a.weight", 8, None, None, True)
    assert other.made == 1


def test_the_least_recently_used_go_first() -> None:
    bank = make()
    bank.fill(LEVELS, silent)
    for age, path in enumerate(files(bank)):
        os.utime(path, (1000 + age, 1000 + age))
    oldest, kept = files(bank)[0], files(bank)[-1]
    small = make(limit=bank.size())
    small.codes("a", 4, torch.arange(64))
    assert not oldest.exists() and kept.exists() and small.size() <= small.limit
    assert make(limit=1).codes("c", 8, torch.arange(32)).bits == 8


def test_banks_of_other_weights_lie_elsewhere() -> None:
    make().fill(LEVELS, silent)
    other = make(identity="2" * 64)
    other.fill(LEVELS, silent)
    assert other.made == len(LEVELS) and other.folder != make().folder


def _fill(folder: str) -> None:
    os.environ["SLIMFRONT_CACHE"] = folder
    torch.set_num_threads(1)
    make().fill(LEVELS, silent)


def test_two_processes_fill_it_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(str(tmp_path),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    bank = make()
    for level in LEVELS:
        bank.codes(level.name, level.bits, None)
    assert bank.made == 0 and len(files(bank)) == len(LEVELS) and not list(bank.folder.glob(".*"))


class Read:
    """Second moments that a test knows."""

    data = "d" * 64

    def __init__(self, seed: int = 0) -> None:
        read = torch.randn(500, 128, generator=torch.Generator().manual_seed(seed)).cumsum(1)
        self.matrix = read.T @ read / len(read)

    def moment(self, _weight: str) -> torch.Tensor:
        return self.matrix


def calibrated(method: str, repairs: bool) -> Bank:
    quantizer = QUANTIZERS.get(method, where="x")()
    capabilities = Capabilities((2, 4, 8, 32), (64, 32), ("f32",))
    return Bank(WEIGHTS, "1" * 64, method, quantizer, capabilities, 10**9, Read(), repairs)


def test_columns_that_stay_make_up_for_those_that_go_in_floats_and_in_codes() -> None:
    kept, moment = torch.arange(0, 128, 2), Read().matrix
    bank, plain = calibrated("affine", True), make()
    floats = bank.codes("a", 32, kept)
    assert torch.equal(floats, repaired(WEIGHTS["a"], moment, kept))
    assert torch.equal(plain.codes("a", 16, kept), WEIGHTS["a"][:, kept])
    errors = []
    for found in (bank.codes("a", 8, kept), plain.codes("a", 8, kept)):
        change = -WEIGHTS["a"]
        change[:, kept] += found.dequantize()
        errors.append(float((change @ moment * change).sum()))
    assert errors[0] < 0.2 * errors[1]
    # Another process reads the same, and nothing is taken for what another method made.
    again = calibrated("affine", True)
    assert torch.equal(again.codes("a", 32, kept), floats) and again.made == 0
    assert torch.equal(bank.codes("a", 8, None).dequantize(), plain.codes("a", 8, None).dequantize())


def test_calibrated_codes_are_those_of_the_columns_that_stay() -> None:
    kept, moment = torch.arange(64), Read().matrix
    for repairs in (False, True):
        bank = calibrated("gptq", repairs)
        weight = repaired(WEIGHTS["b"], moment, kept) if repairs else WEIGHTS["b"][:, kept]
        made = QUANTIZERS.get("gptq", where="x")().quantize(weight, 4, 64, moment[:64, :64])
        assert torch.equal(bank.codes("b", 4, kept).codes, made.codes)
    assert len(files(bank)) == 2


def test_a_bank_that_is_full_keeps_what_it_has() -> None:
    """Levels beyond the limit are made when they are asked for; filling once more makes nothing."""
    roomy = make()
    roomy.fill(LEVELS, silent)
    said: list[str] = []
    small = make(limit=roomy.size() // 2, identity="2" * 64)
    small.fill(LEVELS, lambda text, _share: said.append(text))
    assert 0 < small.made < len(LEVELS) and said[-1] == "the layer bank is full, see search.bank"
    again = make(limit=roomy.size() // 2, identity="2" * 64)
    again.fill(LEVELS, silent)
    assert again.made == 0
    for level in LEVELS:
        found = again.codes(level.name, level.bits, None)
        assert torch.equal(found.dequantize(), roomy.codes(level.name, level.bits, None).dequantize())
    assert again.size() <= roomy.size() // 2


@pytest.mark.parametrize("mask", ["wanda", "sparsegpt", "magnitude"])
def test_zeros_are_those_of_the_columns_that_stay_and_survive_rounding(mask: str) -> None:
    kept, moment, pattern = torch.arange(0, 128, 2), Read().matrix, Pattern(0.5)
    for method in ("affine", "gptq"):
        bank = replace(calibrated(method, True), thinning=mask, mask=MASKS.get(mask, where="x")())
        mended = repaired(WEIGHTS["a"], moment, kept)
        thin = MASKS.get(mask, where="x")().thin(mended, pattern, moment[::2][:, ::2])
        assert torch.equal(bank.codes("a", 32, kept, pattern), thin) and bank.made == 0
        codes = bank.codes("a", 4, kept, pattern)
        assert (codes.dequantize()[thin == 0] == 0).all() and bank.made == 1
        assert not torch.equal(codes.codes, bank.codes("a", 4, kept).codes)
        assert not torch.equal(codes.codes, bank.codes("a", 4, kept, Pattern(0.5, 4)).codes)
        again = replace(bank, made=0, _held={})
        assert torch.equal(again.codes("a", 4, kept, pattern).codes, codes.codes) and again.made == 0
