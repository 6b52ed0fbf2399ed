"""The dense model: loaded as it is, or trained once and cached by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from slimfront.studies.cache import cached
from slimfront.studies.checkpoint import Checkpoint
from slimfront.studies.encoding import Encoded
from slimfront.studies.errors import StudyError
from slimfront.studies.schema import FineTuning, LogisticRegressionHead, NoTraining, Study
from slimfront.studies.tensors import adopt
from slimfront.studies.threads import fitting, torch_threads
from slimfront.studies.training import TOKENS, adamw, arithmetic, half_precision
from torch import nn
from torch.nn import functional

Progress = Callable[[str, float], None]


def require_training(study: Study, missing: list[str]) -> None:
    """Check that a checkpoint without a trained head is going to be trained.

    Raises:
        StudyError: the study does not say how.
    """
    if missing and isinstance(study.train, NoTraining):
        raise StudyError(
            "the checkpoint has no trained head for these labels",
            where="train.method",
            given=f"none, with {', '.join(missing[:4])} missing or made for another number of classes",
            allowed="fine-tune, logistic-regression",
            hint="add a section 'train' with 'method: fine-tune'",
        )


def dense_model(study: Study, base: nn.Module, weights: str, train: Encoded, progress: Progress) -> nn.Module:
    """Return the trained dense model in evaluation mode.

    Args:
        study: Says how it is trained.
        base: The checkpoint's model.
        weights: SHA-256 of its parameters.
        train: The train split.
        progress: Called with a text and the finished share.
    """
    spec = study.train
    if isinstance(spec, NoTraining):
        return base
    key = {
        "train": spec.model_dump(mode="json"),
        "weights": weights,
        "data": train.fingerprint(),
        **arithmetic(),
    }

    def build(folder: Path) -> None:
        with torch_threads(fitting(base)):
            if isinstance(spec, FineTuning):
                _fine_tune(base, train, spec, Checkpoint.of("dense", key), progress)
            else:
                _fit_head(base, train, spec, progress)
        save_file(
            {name: value.detach().contiguous() for name, value in base.named_parameters()},
            folder / "dense.safetensors",
        )

    folder = cached("dense", key, build)
    return adopt(base, folder / "dense.safetensors").eval().requires_grad_(True)


def tensors(encoded: Encoded, indices: list[int], multiple: int = 1) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return a batch of inputs ``(rows, tokens)`` and labels ``(rows,)``; see :meth:`Encoded.batch`."""
    batch = {name: torch.from_numpy(values) for name, values in encoded.batch(indices, multiple).items()}
    return batch, torch.from_numpy(encoded.labels[indices])


def bucketed(encoded: Encoded, size: int, rng: np.random.Generator) -> list[list[int]]:
    """Return one epoch of shuffled batches whose rows have similar lengths."""
    order = rng.permutation(len(encoded))
    lengths = encoded.sizes
    pool = size * 16
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + size].tolist() for i in range(0, len(part), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def embedding_tables(module: nn.Module) -> frozenset[str]:
    """Return the names of the embedding tables, which training leaves as they are: they are large and hardly change."""
    return frozenset(f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.Embedding))


def _fine_tune(module: nn.Module, train: Encoded, spec: FineTuning, checkpoint: Checkpoint, progress: Progress) -> None:
    torch.manual_seed(spec.seed)
    rng = np.random.default_rng(spec.seed)
    module.train()
    fixed = embedding_tables(module) if spec.freeze_embeddings else frozenset()
    parameters = {name: value for name, value in module.named_parameters() if name not in fixed}
    for name in fixed:
        module.get_parameter(name).requires_grad_(False)
    optimizer = adamw(parameters.values(), spec.learning_rate)
    begin = checkpoint.restore(parameters, optimizer)
    epochs = [bucketed(train, spec.batch, rng) for _ in range(spec.epochs)]
    steps = [batch for epoch in epochs for batch in epoch]
    for number, indices in enumerate(steps):
        if number < begin:
            continue
        set_rate(optimizer, spec.learning_rate * (1 - number / len(steps)))
        batch, labels = tensors(train, indices, TOKENS)
        with half_precision():
            logits = module(**batch).logits
        loss = functional.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        progress(f"fine-tuning the dense model, loss {loss.item():.3f}", (number + 1) / len(steps))
        checkpoint.rest(number + 1, parameters, optimizer)
    module.eval()
    checkpoint.remove()


def last_linear(module: nn.Module) -> nn.Linear:
    """Return the linear layer that makes the logits: the last one that a walk of the module finds."""
    layers = [part for part in module.modules() if isinstance(part, nn.Linear)]
    return layers[-1]


def _fit_head(module: nn.Module, train: Encoded, spec: LogisticRegressionHead, progress: Progress) -> None:
    from sklearn.linear_model import LogisticRegression

    head = last_linear(module)
    features = np.zeros((len(train), head.in_features), dtype=np.float32)
    taken: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, args: taken.append(args[0].detach()))
    done = 0
    try:
        with torch.no_grad():
            for indices, _ in train.sorted_batches(32):
                module(**tensors(train, indices)[0])
                features[indices] = taken.pop().numpy()
                done += len(indices)
                progress("reading features for the head", done / len(train))
    finally:
        hook.remove()
    model = LogisticRegression(C=spec.C, max_iter=spec.max_iterations).fit(features, train.labels)
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        # One logit separates two classes; the softmax over (0, z) is the same model.
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
    with torch.no_grad():
        head.weight.zero_()
        head.weight[model.classes_] = torch.from_numpy(weight).float()
        if head.bias is not None:
            head.bias.zero_()
            head.bias[model.classes_] = torch.from_numpy(bias).float()
