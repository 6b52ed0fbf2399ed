"""What a smaller vocabulary costs by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from slimfront.search.preparation import anatomy_on, lay_space
from slimfront.search.rereading import reread
from slimfront.spaces.axes.vocabulary import REMOVED
from slimfront.studies.dense import tensors
from slimfront.studies.reader import parse_study
from slimfront.studies.subject import Subject, load_subject, trained


def test_what_is_lost_is_what_the_dense_model_says_of_the_other_reading(
    study_data: Callable[..., dict[str, Any]],
) -> None:
    data = study_data("bert")
    data["space"] = {"vocabulary": {"levels": [0.5, 0.8, 0.9]}}
    data["train"] = {"method": "fine-tune", "epochs": 6, "learning_rate": 1e-3, "freeze_embeddings": False}
    study = parse_study(data)
    loaded = load_subject(study)
    _runtime, space = lay_space(study, anatomy_on(study, loaded))
    subject = trained(loaded, study, lambda _text, _share: None)

    def read(rows: int | None) -> Subject:
        return subject if rows is None else subject.with_rows(rows)

    found = reread(subject, space, {}, read, lambda _text, _share: None)
    losses = found.losses[REMOVED]
    # Half of the rows have no token at all; of the words that the last level lacks, many tell the label.
    assert losses[0] == 0 and losses[1] < 1e-9 < losses[2] < losses[3]
    every = list(range(len(subject.search)))
    with torch.no_grad():
        before, after = (
            subject.module(**tensors(own.search, every)[0]).logits.double().log_softmax(-1)
            for own in (subject, read(12))
        )
    assert abs(losses[3] - float((before.exp() * (before - after)).sum(-1).mean())) < 1e-5 + 1e-3 * losses[3]
    assert found.stretch == [1.0] * 4
