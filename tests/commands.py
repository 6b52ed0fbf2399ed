"""The command line as tests run it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

Done = subprocess.CompletedProcess[str]


def slimfront(*arguments: object) -> Done:
    """Run a command in a fresh process."""
    command = [sys.executable, "-m", "slimfront.search.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def forked(*arguments: object, cwd: Path | None = None) -> Done:
    """Run a command in a fork of this process, which has imported the libraries already: seconds less a command."""
    command = ["slimfront", *map(str, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # The child's collector would otherwise write to, and so copy, all that this process holds.
        gc.freeze()
        child = os.fork()
        if child == 0:
            _command(command, (out.fileno(), err.fileno()), cwd)
        gc.unfreeze()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read().decode(), err.read().decode())


def checked(name: str, text: str) -> Any:
    """Return what a command printed as JSON, which must be as the schema says that ships."""
    import jsonschema
    from slimfront.search.schemas import schema_of

    found = json.loads(text)
    jsonschema.validate(found, schema_of(name), cls=jsonschema.Draft202012Validator)
    return found


def _command(arguments: Sequence[str], files: tuple[int, int], cwd: Path | None) -> NoReturn:
    try:
        for own, file in zip((1, 2), files, strict=True):
            os.dup2(file, own)
        sys.stdout, sys.stderr = (os.fdopen(own, "w", encoding="utf-8", closefd=False) for own in (1, 2))
        sys.argv = list(arguments)
        os.chdir(cwd or Path.cwd())
        from slimfront.search.cli import main

        main()
    finally:
        # Whatever happens, this process must not go on as another pytest.
        os._exit(99)
