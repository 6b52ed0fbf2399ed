"""What trials share beside the model itself: the teacher, and the bank of compressed layers."""

from __future__ import annotations

from collections.abc import Callable

from slimfront.search.bank import Bank
from slimfront.search.recovery.distil import Teacher
from slimfront.search.statistics import calibration, teacher_logits
from slimfront.spaces.criteria import CRITERIA
from slimfront.spaces.masks import MASKS
from slimfront.spaces.quantizers import QUANTIZERS
from slimfront.spaces.space import Space
from slimfront.studies.schema import Study
from slimfront.studies.space import BitsSpec
from slimfront.studies.subject import Subject

Progress = Callable[[str, float], None]


def teacher_of(study: Study, subject: Subject, space: Space, progress: Progress) -> Teacher | None:
    """Return the dense model as it teaches, or None where nothing is distilled."""
    if study.recovery is None and not space.axes["distillation"].domains():
        return None
    return Teacher(subject.module, space.anatomy, subject.lessons, teacher_logits(subject, progress))


def bank_of(study: Study, subject: Subject, space: Space, progress: Progress) -> Bank:
    """Return the bank of a subject's weights, with the quantizer and the mask that the study names."""
    spec, sparsity = study.space.bits or BitsSpec(), study.space.sparsity
    quantizer = QUANTIZERS.get(spec.quantizer, where="space.bits.quantizer")()
    repairs = sparsity is not None and CRITERIA.get(sparsity.criterion, where="space.sparsity.criterion").repairs
    thinning = study.space.unstructured.mask if study.space.unstructured else ""
    mask = MASKS.get(thinning, where="space.unstructured.mask")() if thinning else None
    calibrated = repairs or quantizer.calibrated or space.static or (mask is not None and mask.calibrated)
    weights = dict(subject.module.named_parameters())
    return Bank(
        weights=weights,
        identity=subject.weights,
        method=spec.quantizer,
        quantizer=quantizer,
        capabilities=space.capabilities,
        limit=int(study.search.bank * sum(value.numel() * 4 for value in weights.values())),
        calibration=calibration(subject, spec.rows, progress) if calibrated else None,
        repairs=repairs,
        thinning=thinning,
        mask=mask,
    )
