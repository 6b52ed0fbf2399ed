from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from slimfront.studies.drafting import draft_study, scalar
from slimfront.studies.errors import StudyError
from slimfront.studies.reader import parse_text
from slimfront.studies.schema import FineTuning, Splits
from slimfront.studies.subject import load_subject
from transformers import AutoModelForSequenceClassification

from tests.commands import forked


def test_a_draft_is_a_study_that_validates(
    encoder_folder: Callable[[str], Path], reviews: Path, tmp_path: Path
) -> None:
    asked = ("init", "--model", encoder_folder("bert"), "--data", reviews, "--group", "film")
    done = forked(*asked, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == "reviews.yaml\n", done.stderr
    text = (tmp_path / "reviews.yaml").read_text()
    study = parse_text(text, "x")
    assert (study.data.text, study.data.label, study.data.group) == ("text", "label", "film")
    # The texts have 9 to 14 words.
    assert study.model.max_tokens == 32 and study.target.tokens == 32 and study.train.method == "none"
    assert "labels: [fresh, rotten]" in text and "at most 14 words" in text and "400 rows" in text
    assert study.space.bits is not None and study.space.bits.levels == (2, 3, 4, 6, 8, "8-static", 16, 32)
    checked = forked("validate", tmp_path / "reviews.yaml")
    assert checked.returncode == 0 and "valid; " in checked.stdout, checked.stderr
    again = forked(*asked, cwd=tmp_path)
    assert again.returncode == 2 and "already there" in again.stderr and (tmp_path / "reviews.yaml").read_text() == text


def test_a_draft_says_where_the_checkpoint_calls_its_classes_something_else(
    encoder_folder: Callable[[str], Path], reviews: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(encoder_folder("bert"), folder)
    config = json.loads((folder / "config.json").read_text())
    headed = config["architectures"]
    for names, heads, said in (
        (("NEG\nATIVE", "POSITIVE"), headed, True),
        (("NEG\nATIVE", "POSITIVE"), ["BertModel"], False),
        (("LABEL_0", "LABEL_1"), headed, False),
        (("a", "A"), headed, True),
        (("Fresh", "fresh"), headed, True),
        (("b" * 90, "c"), headed, True),
    ):
        told = {"id2label": {str(n): name for n, name in enumerate(names)}, "label2id": {}, "architectures": heads}
        (folder / "config.json").write_text(json.dumps(config | told))
        _, text = draft_study(str(folder), str(reviews))
        assert parse_text(text, "x").data.labels is None and "b" * 41 not in text
        assert ("The checkpoint calls its classes " in text) is said and ("# labels: []" in text) is said
        assert ("# labels: [fresh, rotten]" in text) is not said
        assert ('calls its classes "NEG\\U0000000aATIVE", POSITIVE. Remove' in text) is (
            said and names[1] == "POSITIVE"
        )
        # A list that is left empty, or in whatever order, would be believed.
        if said:
            with pytest.raises(StudyError, match=r"data\.labels"):
                parse_text(text.replace("# labels: []", "labels: []"), "x")


def test_a_model_that_has_no_configuration_is_refused(tmp_path: Path, reviews: Path) -> None:
    for text in ("[]", "null", "{"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(StudyError, match="no Transformers checkpoint"):
            draft_study(str(tmp_path), str(reviews))
    (tmp_path / "config.json").write_text(json.dumps({"id2label": 2, "num_labels": 2}))
    assert "method: fine-tune" in draft_study(str(tmp_path), str(reviews))[1]


def test_labels_are_listed_in_the_order_of_the_checkpoint(
    encoder_folder: Callable[[str], Path], reviews: Path, tmp_path: Path
) -> None:
    """So that no export changes what the outputs mean."""
    folder = tmp_path / "model"
    shutil.copytree(encoder_folder("bert"), folder)
    config = json.loads((folder / "config.json").read_text())
    names = {"id2label": {"0": "Rotten", "1": "Fresh"}, "label2id": {"Rotten": 0, "Fresh": 1}}
    (folder / "config.json").write_text(json.dumps(config | names))
    _, text = draft_study(str(folder), str(reviews))
    study = parse_text(text, "x")
    assert study.data.labels == ("rotten", "fresh") and "# group: film" in text
    data = study.data.model_copy(update={"splits": Splits(train=100, search=50, held_out=50)})
    subject = load_subject(study.model_copy(update={"data": data}))
    own = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        answers = [module(**subject.example()).logits for module in (own, subject.module)]
    assert subject.texts.labels == ("rotten", "fresh") and torch.allclose(*answers, atol=1e-5)


def test_hub_ids_are_written_and_not_looked_up() -> None:
    out, text = draft_study("some/model", "some/data", Path("a b.yaml"), text="true", label="a: b # c")
    study = parse_text(text, "x")
    assert out == Path("a b.yaml") and study.name == "a-b" and study.model.hub == "some/model"
    assert (study.data.hub, study.data.text, study.data.label) == ("some/data", "true", "a: b # c")
    with pytest.raises(StudyError, match="not looked up"):
        draft_study("some/model", "some/data", text="text")


def test_a_head_for_other_labels_is_trained(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"some words and {n},{n % 3}\n" for n in range(40)))
    _, text = draft_study(str(encoder_folder("bert")), str(tmp_path / "a.csv"))
    assert isinstance(parse_text(text, "x").train, FineTuning)


@pytest.mark.parametrize(
    ("model", "data", "where"),
    [("./nothing", "some/data", "--model"), ("some/model", "nothing.csv", "--data"), (".", "some/data", "--model")],
)
def test_what_is_not_there(model: str, data: str, where: str) -> None:
    with pytest.raises(StudyError) as caught:
        draft_study(model, data, text="text", label="label")
    assert caught.value.where == where


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12))
def test_a_text_stays_that_text_in_yaml(text: str) -> None:
    assert YAML(typ="safe", pure=True).load(f"a: [{scalar(text)}]\nb: {scalar(text)}\n") == {"a": [text], "b": text}
