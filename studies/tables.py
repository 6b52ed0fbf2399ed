"""Reads the files of rows that hold labelled texts."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slimfront.studies.errors import StudyError, no_such, one_line
from slimfront.studies.schema import DataSpec
from slimfront.studies.sources import locate

SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
BUILDERS = {"csv": "csv", "tsv": "csv", "jsonl": "json", "parquet": "parquet"}


def load_table(spec: DataSpec, where: str, scratch: str | None) -> Any:
    """Return the rows that a study names as a data set; see :func:`load_file`."""
    place = locate(spec, where)
    if spec.hub is None:
        names = [name for name in (spec.text, spec.text_pair, spec.label, spec.group) if name]
        kind = spec.format or _format(Path(place), where)
        return load_file(Path(place), kind, where, names=names, encoding=spec.encoding, scratch=scratch)
    import datasets

    with _explained(place, where):
        return datasets.load_dataset(place, spec.config, split=spec.split, revision=spec.revision)


def load_file(
    path: Path,
    kind: str | None = None,
    where: str = "data",
    *,
    names: Sequence[str] = (),
    encoding: str = "utf-8",
    scratch: str | None = None,
) -> Any:
    """Return the rows of a file as a data set.

    Args:
        path: A CSV, TSV, JSON Lines or Parquet file.
        kind: Its format; read from its name where None.
        where: Where it was named, for messages.
        names: Columns of a CSV or TSV file whose values stay as they are written.
        encoding: Of a CSV or TSV file.
        scratch: A folder for what the library keeps; its own cache where None.

    Raises:
        StudyError: the file cannot be read.
    """
    import datasets

    kind = kind or _format(path, where)
    options: dict[str, Any] = {}
    if BUILDERS[kind] == "csv":
        _require_encoding(encoding, where)
        # A text that reads "NA" is a text, and a label 01 is not the label 1.
        as_written = {"converters": dict.fromkeys(names, str), "keep_default_na": False}
        options = {"encoding": encoding, "sep": "\t" if kind == "tsv" else ",", **as_written}
    with _explained(str(path), where):
        files = {"rows": glob.escape(str(path))}
        return datasets.load_dataset(BUILDERS[kind], data_files=files, split="rows", cache_dir=scratch, **options)


@contextlib.contextmanager
def _explained(place: str, where: str) -> Iterator[None]:
    """Keep the library quiet, and say of whatever it raises that the data cannot be loaded."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    except Exception as error:
        raise _refusal(error.__cause__ or error, place, where) from error


def _refusal(error: BaseException, place: str, where: str) -> StudyError:
    """Return what to say of an error of the library: what is the matter, and what to do."""
    said = one_line(str(error), 200)
    if isinstance(error, UnicodeError):
        return StudyError(
            f"the file is written in another encoding: {said}",
            where=where if where.startswith("--") else f"{where}.encoding",
            given=place,
            hint="name the encoding in which it was written, such as latin-1 or utf-16",
        )
    empty = isinstance(error, StopIteration) or type(error).__name__ == "EmptyDataError"
    if empty or "corresponds to no data" in said or "pass `features`" in said:
        return StudyError(
            "the file holds no rows",
            where=where,
            given=place,
            allowed="a line of column names, and a row on each line below it",
            hint="name a file with rows",
        )
    return StudyError(
        f"the data cannot be loaded: {type(error).__name__}: {said}",
        where=where,
        given=place,
        allowed="a hub data set, or a CSV, TSV, JSON Lines or Parquet file",
        hint="mend what is said above, or name another file, or its format where that is another",
    )


def _require_encoding(name: str, where: str) -> None:
    with contextlib.suppress(LookupError):
        # Some codecs turn bytes into bytes.
        "".encode(name)
        return
    raise StudyError(
        "there is no such encoding of text",
        where=f"{where}.encoding",
        given=name,
        allowed="utf-8, latin-1, utf-16, cp1252 and the others that Python knows",
        hint="name the encoding in which the file was written",
    )


def _format(path: Path, where: str) -> str:
    for suffix in path.suffixes:
        if suffix in SUFFIXES:
            return SUFFIXES[suffix]
    option = where.startswith("--")
    raise StudyError(
        "the format cannot be read from the file's name",
        where=where if option else f"{where}.format",
        given=path.name,
        allowed="csv, tsv, jsonl, parquet",
        hint="rename the file" if option else f"add '{where}.format'",
    )


def require_column(columns: Sequence[str], name: str | None, where: str) -> None:
    """Check that a column exists, where one is named.

    Raises:
        StudyError: it does not.
    """
    if name is None or name in columns:
        return
    hint = f"name one of the columns at {where}"
    raise no_such("the data have no such column", name, columns, where=where, hint=hint)
