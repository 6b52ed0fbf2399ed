from __future__ import annotations

from pathlib import Path

import pytest
from slimfront.studies.cache import cached
from slimfront.studies.errors import MissingError


def test_built_once_and_again_when_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path))
    built: list[int] = []

    def build(folder: Path) -> None:
        built.append(1)
        (folder / "value").write_text("42")

    first = cached("kind", {"a": 1}, build)
    assert cached("kind", {"a": 1}, build) == first and len(built) == 1
    assert cached("kind", {"a": 2}, build) != first and len(built) == 2
    (first / "value").write_text("43")
    assert (cached("kind", {"a": 1}, build) / "value").read_text() == "42" and len(built) == 3


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path))

    def build(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cached("kind", 1, build)
    assert list((tmp_path / "kind").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path / "file"))
    with pytest.raises(MissingError, match="SLIMFRONT_CACHE"):
        cached("kind", 1, lambda _folder: None)


def test_what_another_process_finished_first_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path))

    def late(folder: Path) -> None:
        cached("kind", 1, lambda first: (first / "value").write_text("first"))
        (folder / "value").write_text("second")

    assert (cached("kind", 1, late) / "value").read_text() == "first"
