"""Nothing that is read leads out of its folder, runs a program, or writes markup into a report."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slimfront.objectives.artifact import MANIFEST, Artifact, _sum
from slimfront.search.answers import PREDICTIONS, readable_logits
from slimfront.search.engines.raytune.engine import SETTINGS
from slimfront.search.export import verify
from slimfront.search.export.exporter import write_record
from slimfront.search.inspect.report import write_report
from slimfront.search.rebuild import sound
from slimfront.search.records import Records
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.studies.cache import file_sha256
from slimfront.studies.errors import RecordsError, StudyError
from slimfront.studies.models import load_model, load_tokenizer
from slimfront.studies.schema import ModelSpec, Source
from slimfront.studies.tensors import read_tensors

from tests.faults.searching import made_up_run

ROOT = Path(__file__).parents[2]
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("not yours")
    return path


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    folder = tmp_path / "run" / "artifact"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    return Artifact.seal(folder, ["model.bin"], "openvino", {})


def names_of(secret: Path) -> list[str]:
    return ["../../secret", str(secret), "./../../secret", "..", ""]


def test_manifests_name_files_of_their_own_folder_only(artifact: Artifact, secret: Path) -> None:
    for name in names_of(secret):
        data = artifact.manifest()
        data["files"][name] = {"sha256": file_sha256(secret), "bytes": secret.stat().st_size}
        (artifact.folder / MANIFEST).write_text(json.dumps({**data, "sha256": _sum(data)}))
        with pytest.raises(RecordsError):
            Artifact.open(artifact.folder)


def test_records_name_files_of_the_artifact_only(artifact: Artifact, secret: Path) -> None:
    (artifact.folder / PREDICTIONS).write_text("[0]")
    trial = Trial(0, "complete", Configuration({}), "dense", 0, {}, artifact.files, {}, None, None, 1)
    assert sound(artifact.folder, trial)
    for name in names_of(secret):
        told = {"beside": {name: file_sha256(secret)}}
        assert not sound(artifact.folder, replace(trial, details=told))
        assert not sound(artifact.folder, replace(trial, files={name: file_sha256(secret)}))


def test_an_export_is_compared_with_its_own_files_only(artifact: Artifact, secret: Path) -> None:
    record = {"format": "openvino", "values": {}}
    write_record(artifact.folder, record)
    assert verify(artifact.folder)["bytes"] == 7
    text = (artifact.folder / "record.json").read_text()
    for name in names_of(secret):
        sums = {"files": {name: file_sha256(secret)}}
        (artifact.folder / "record.json").write_text(json.dumps({**record, **sums, "schema_version": 1}))
        with pytest.raises(RecordsError):
            verify(artifact.folder)
    (artifact.folder / "record.json").write_text(text.replace('"openvino"', '"onnx"'))
    with pytest.raises(RecordsError, match=r"record\.json"):
        verify(artifact.folder)


class Payload:
    """Writes a file as soon as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.write_text, (self.mark, "ran")


# How a process comes to OpenVINO.
WAYS = {
    "worker": "from slimfront.search.worker import Server; Server(sys.stdout).warm_up()",
    "runtime": "import slimfront.objectives.runtimes.openvino",
    "session": "from slimfront.objectives.sessions import SESSIONS; SESSIONS.names()",
    "deployed": "import slimfront.search.export.fresh.openvino",
}


@pytest.mark.parametrize("way", WAYS)
def test_openvino_reports_nothing_to_its_makers(way: str) -> None:
    code = f"""
import sys, threading
{WAYS[way]}
import openvino
openvino.convert_model
print(sys.modules["openvino_telemetry"], threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "1"]


def test_where_memory_is_measured_nothing_is_reported(tmp_path: Path) -> None:
    told = tmp_path / "told"
    found = "[sys.modules.get('openvino_telemetry'), 'openvino' in sys.modules]"
    child = f"import sys; open({str(told)!r}, 'w').write(str({found}))"
    code = f"""
from pathlib import Path
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.memory import _server
process = _server(Artifact(Path(), {{}}, "openvino", {{}})).Process(target=exec, args=({child!r},))
process.start()
process.join()
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.read_text() == "[None, True]"


def test_ray_reports_nothing_to_its_makers(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = pytest.importorskip("ray._common.usage.usage_lib")
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    assert not usage.usage_stats_enabled()


def test_no_pickle_is_loaded(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    bad = tmp_path / "bad.npy"
    np.save(bad, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    assert not readable_logits([bad], (1,)) and read_tensors(bad) is None
    for crafted in (pickle.dumps(Payload(mark)), None):
        model = tmp_path / f"model-{crafted is None}"
        shutil.copytree(encoder_folder("bert"), model)
        (model / "model.safetensors").unlink()
        if crafted is None:
            torch.save({"weight": Payload(mark)}, model / "pytorch_model.bin")
        else:
            (model / "pytorch_model.bin").write_bytes(crafted)
        with pytest.raises(StudyError, match="no text classifier"):
            load_model(ModelSpec(path=str(model)), ("a", "b"))
    assert not mark.exists()
    torch.load(tmp_path / "model-True" / "pytorch_model.bin", weights_only=False)
    assert mark.exists(), "the payload itself does not work"


def test_no_source_loads_what_may_run() -> None:
    unsafe = r"(allow_pickle|trust_remote_code)\s*=\s*True|weights_only\s*=\s*False"
    unsafe += r"|^\s*(import|from) (pickle|joblib|dill|marshal|shelve)\b"
    for folder in ("search", "spaces", "objectives", "studies"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            # A card tells how to load the code that an export ships itself.
            said = re.sub(r'(", |\(folder, )trust_remote_code=True\)("|``)', "", text)
            assert not re.search(unsafe, said, re.MULTILINE), path
            runs = r"torch\.load\(|yaml\.unsafe|YAML\((?!typ=\"safe\")|(?<!\.)\b(eval|exec)\("
            assert not re.search(runs, text), path


def test_a_model_that_brings_code_is_refused(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    mark, model = tmp_path / "mark", tmp_path / "model"
    shutil.copytree(encoder_folder("bert"), model)
    (model / "own.py").write_text(f"open({str(mark)!r}, 'w').write('ran')\n")
    config = json.loads((model / "config.json").read_text())
    classes = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    (model / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": classes}))
    with pytest.raises(StudyError, match="program code of its own, which is not run"):
        load_model(ModelSpec(path=str(model)), ("a", "b"))
    settings = json.loads((model / "tokenizer_config.json").read_text())
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}}
    (model / "tokenizer_config.json").write_text(json.dumps({**settings, **own}))
    for spec in (ModelSpec(path=str(model)), ModelSpec(path=str(model), tokenizer=Source(path=str(model)))):
        with pytest.raises(StudyError, match="program code of its own"):
            load_tokenizer(spec)
    assert not mark.exists()


def test_reports_escape_what_they_show(study_data: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    data = {**study_data(), "constraints": {"accuracy": ">= dense - 0.5"}}
    run = made_up_run(tmp_path / MARKUP.replace("/", "") / "run", data)
    records = Records(run.folder)
    running = records.trials()[-1]
    records.fail(running, f"ValueError: {MARKUP}")
    write_report(run, run.front(), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "alert(1)" in text and "<script>alert" not in text and "<img src=x" not in text
    # Names of studies are letters, digits and what file names bear.
    with pytest.raises(StudyError, match="name"):
        made_up_run(tmp_path / "other", {**data, "name": MARKUP})
