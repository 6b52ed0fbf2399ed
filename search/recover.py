"""Recovery: the dense model teaches the stitched one."""

from __future__ import annotations

import numpy as np
import torch
from slimfront.spaces.draft import Recovery
from slimfront.studies.dense import bucketed, frozen_embeddings, tensors
from slimfront.studies.encoding import Encoded
from slimfront.studies.processor import multiplies_bf16
from slimfront.studies.schema import DistillationSpec
from torch import nn
from torch.nn import functional


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, temperature: float, weight: float
) -> torch.Tensor:
    """Return the loss of temperature-softened distillation, averaged over the rows.

    ``weight * T**2 * KL(softmax(teacher / T) || softmax(student / T)) + (1 - weight) * CE(student, labels)``
    (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2). ``T**2`` keeps the
    gradients of the soft targets at the size of the hard ones' whatever the temperature.

    Args:
        student: Logits ``(rows, classes)``.
        teacher: Logits ``(rows, classes)``.
        labels: Indices ``(rows,)``.
        temperature: ``T``, positive.
        weight: Weight of the soft targets, from 0 to 1.
    """
    soft = functional.kl_div(
        functional.log_softmax(student / temperature, -1),
        functional.log_softmax(teacher / temperature, -1),
        reduction="batchmean",
        log_target=True,
    )
    return weight * temperature**2 * soft + (1 - weight) * functional.cross_entropy(student, labels)


def distil(
    module: nn.Module,
    train: Encoded,
    teacher: torch.Tensor,
    recovery: Recovery,
    spec: DistillationSpec,
    seed: int,
) -> None:
    """Train ``module`` in place for some steps on the teacher's logits; embeddings stay as they are.

    Args:
        module: The stitched module.
        train: The train split.
        teacher: The dense model's logits on it, ``(rows, classes)``.
        recovery: Steps, temperature and weight.
        spec: Batch and learning rate.
        seed: Draws the batches.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    frozen_embeddings(module)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=spec.learning_rate)
    queue: list[list[int]] = []
    for step in range(recovery.steps):
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * (1 - step / recovery.steps)
        queue = queue or bucketed(train, spec.batch, rng)
        indices = queue.pop()
        inputs, labels = tensors(train, indices)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=multiplies_bf16()):
            logits = module(**inputs).logits
        loss = distillation_loss(logits.float(), teacher[indices], labels, recovery.temperature, recovery.weight)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
