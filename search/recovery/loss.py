"""What a student is punished for: predictions, hidden states and attention that differ from the teacher's."""

from __future__ import annotations

from math import gcd

import torch
from slimfront.studies.data import UNLABELLED
from torch.nn import functional


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, temperature: float, weight: float
) -> torch.Tensor:
    """Return the loss of temperature-softened distillation, averaged over the rows.

    ``weight * T**2 * KL(softmax(teacher / T) || softmax(student / T)) + (1 - weight) * CE(student, labels)``
    (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2). ``T**2`` keeps the
    gradients of the soft targets at the size of the hard ones' whatever the temperature. A row without a label has soft
    targets only. Logistic regression is the special case of the logits ``(0, z)``.

    Args:
        student: Logits ``(rows, classes)``.
        teacher: Logits ``(rows, classes)``.
        labels: Indices ``(rows,)``; ``UNLABELLED`` where there is none.
        temperature: ``T``, positive.
        weight: Weight of the soft targets, from 0 to 1.
    """
    soft = functional.kl_div(
        functional.log_softmax(student / temperature, -1),
        functional.log_softmax(teacher / temperature, -1),
        reduction="none",
        log_target=True,
    ).sum(-1)
    hard = functional.cross_entropy(student, labels, reduction="none", ignore_index=UNLABELLED)
    weights = torch.where(labels == UNLABELLED, 1.0, weight)
    return (weights * temperature**2 * soft + (1 - weights) * hard).mean()


def hidden_loss(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of two hidden states over the real tokens.

    Jiao et al. 2020, "TinyBERT: Distilling BERT for Natural Language Understanding", equation 8, without a projection:
    what is removed from a block does not change its width.

    Args:
        student: ``(rows, tokens, channels)``.
        teacher: ``(rows, tokens, channels)``.
        mask: ``(rows, tokens)``, true for real tokens.
    """
    return (student - teacher).square().mean(-1)[mask].mean()


def attention_loss(
    student: torch.Tensor, teacher: torch.Tensor, units: tuple[int, int], mask: torch.Tensor
) -> torch.Tensor:
    """Return how far two self-attention relations are apart: KL divergence of teacher from student, in nats.

    The relations of queries, keys or values among themselves, softmax of their scaled products over the tokens, exist
    whatever the number of heads (Wang et al. 2021, "MiniLMv2: Multi-Head Self-Attention Relation Distillation for
    Compressing Pretrained Transformers", equations 4 to 6). There are as many relation heads
    as divide the heads of both.

    Args:
        student: Queries, keys or values, ``(rows, tokens, channels)``.
        teacher: The teacher's, ``(rows, tokens, channels)``; its channels may be more.
        units: Attention heads of student and teacher.
        mask: ``(rows, tokens)``, true for real tokens.
    """
    heads = gcd(*units)
    own, taught = _relations(student, heads, mask), _relations(teacher, heads, mask)
    divergence = (taught.exp() * (taught - own)).sum(-1)
    return divergence.mean(1)[mask].mean()


def _relations(states: torch.Tensor, heads: int, mask: torch.Tensor) -> torch.Tensor:
    rows, tokens, channels = states.shape
    split = states.reshape(rows, tokens, heads, channels // heads).transpose(1, 2)
    scores = split @ split.transpose(-1, -2) / (channels // heads) ** 0.5
    # Finite, so that what is not attended to adds nothing to the divergence instead of not a number.
    return functional.log_softmax(scores.masked_fill(~mask[:, None, None, :], -1e4), -1)
