"""What ``edgekd teach`` and ``edgekd distill`` can be told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from edgekd.config.data import DataRecipe
from edgekd.config.methods import (
    READERS,
    CddRecipe,
    KdRecipe,
    LsskdRecipe,
    MethodName,
    RetrievalRecipe,
    SoftLabelsRecipe,
)
from edgekd.config.section import Section
from edgekd.records import Task

PrecisionChoice = Literal["auto", "fp32", "bf16"]


class AugmentRecipe(Section):
    """What is done to a training image; every entry can be switched off by the recipe.

    ``auto`` on ``flip`` and ``crop_padding`` resolves to on for natural images and off for
    small grey ones, where a mirrored digit is another symbol.
    """

    crop_padding: Annotated[int, Field(ge=0, le=64)] | Literal["auto"] = "auto"
    """Pixels of reflection padding before a random crop back to size; auto is 1/8 of the width."""
    flip: bool | Literal["auto"] = "auto"
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of images in which a random rectangle is painted over; arXiv:1708.04896."""
    randaugment: Annotated[int, Field(ge=0, le=30)] = 0
    """RandAugment magnitude (0 is off), two operations per image; arXiv:1909.13719."""
    mixup: Annotated[float, Field(ge=0, le=8)] = 0.0
    """Beta parameter of mixup (0 is off); arXiv:1710.09412."""
    cutmix: Annotated[float, Field(ge=0, le=8)] = 0.0
    """Beta parameter of CutMix (0 is off); arXiv:1905.04899."""
    mix_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the steps whose images are mixed."""
    until: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the epochs after which images are only mirrored: the network ends on images as they
    will be, which brings back the confidence that mixing takes (arXiv:1909.09148)."""


_LARGEST_BATCH: Final = 128
_SMALLEST_BATCH: Final = 16  # below, BatchNorm's statistics are mostly noise
_STEPS_PER_EPOCH: Final = 50  # few steps an epoch and few epochs teach nothing
_SGD_LR: Final = 0.1
_ADAMW_LR: Final = 1e-3

_RETRIEVAL_DEFAULTS: Final = {"label_smoothing": 0.1}  # arXiv:2303.09230; others as ever


class TrainRecipe(DataRecipe):
    """Everything ``edgekd teach`` and ``edgekd distill`` can be told."""

    task: Task = "classification"
    student: Annotated[
        str | None, Field(validation_alias=AliasChoices("student", "model"), default=None)
    ]
    """What to train. Sensor data have one student, ``sensor``, and need not name it."""
    student_options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the architecture, for example ``{width = 32}``."""
    weights: Path | None = None
    """A safetensors file to start the student from."""
    pretrained: bool = False
    """Start a timm student or teacher from its published weights; may download."""
    teacher: str | None = None
    method: MethodName = "none"
    qat: bool = False
    """Quantization-aware: the last epochs train with the rounding of 8 bits inside, at the places
    where int8 files round; with methods none and kd."""
    qat_from: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the epochs before rounding begins; ranges are observed until then, so at least one
    epoch, and learned from then on."""
    label_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training samples, class by class, that are trained on; the others are left
    out. Drawn with ``seed``; a smaller share is part of a larger one."""
    input_size: Annotated[int, Field(ge=4, le=4096)] | None = None
    fit: Literal["crop", "squash", "pad"] = "crop"

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    batch_size: Annotated[int, Field(ge=1, le=65_536)] | Literal["auto"] = "auto"
    """Samples per step; auto is 128, or less where an epoch would have few steps."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0, le=100)] | Literal["auto"] = "auto"
    """Highest learning rate; auto is 0.1 per 128 samples for SGD and 0.001 for AdamW."""
    min_lr: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    precision: PrecisionChoice = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    score_test: bool = True
    """Whether the trained network is measured on the test split; not while tuning, which must not
    look at it."""
    num_threads: Annotated[int, Field(ge=1)] | None = None
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    num_processes: Annotated[int, Field(ge=1)] = 1
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0

    augment: AugmentRecipe = AugmentRecipe()
    kd: KdRecipe = KdRecipe()
    retrieval: RetrievalRecipe = RetrievalRecipe()
    cdd: CddRecipe = CddRecipe()
    soft_labels: SoftLabelsRecipe = SoftLabelsRecipe()
    lsskd: LsskdRecipe = LsskdRecipe()

    def unread(self) -> dict[str, str]:
        """What the recipe's method, and its task, do not look at."""
        found = {}
        if self.task != "retrieval":
            found["retrieval"] = (
                f"task {self.task} does not read it; take it out, or use task retrieval"
            )
        if not self.qat:
            found["qat_from"] = "without qat nothing is rounded; add --qat"
        for key, readers in READERS.items():
            if self.method not in readers:
                found[key] = (
                    f"method {self.method} does not read it; take it out, or use method "
                    f"{' or '.join(readers)}"
                )
        if self.method == "lsskd" and self.teacher is None:
            alone = "read beside a teacher only; take it out, or give --teacher"
            found["lsskd.teacher_weight"] = alone
            found["kd"] = f"{alone} (the branches have lsskd.temperature)"
        if self.soft_labels.source != "ema":
            found["soft_labels.ema_decay"] = (
                f"soft_labels.source {self.soft_labels.source} averages nothing; take it out, or "
                "use source ema"
            )
        return found

    @model_validator(mode="after")
    def _has_a_use_for_its_teacher(self) -> Self:
        named = "method" in self.model_fields_set  # without a name, commands ask for one
        if named and self.method == "none" and self.teacher is not None:
            raise ValueError(
                f"method none learns from labels alone, not from teacher {self.teacher}; take the "
                "teacher out, or use method kd, cdd or lsskd"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_retrieval(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("task") != "retrieval":
            return values
        return {**_RETRIEVAL_DEFAULTS, **values}

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_qat(cls, values: Any) -> Any:
        """Numbers of 8 bits are lost in bf16, which has as many."""
        if not isinstance(values, Mapping) or values.get("qat") in (None, False, "false"):
            return values
        return {"precision": "fp32", **values}

    @model_validator(mode="after")
    def _fits_qat(self) -> Self:
        if not self.qat:
            return self
        if self.method not in ("none", "kd") or self.task != "classification":
            raise ValueError("qat is for methods none and kd, and for classification")
        if self.ema_decay is not None:
            raise ValueError("qat learns ranges, whose average is no range; take ema_decay out")
        if self.precision != "fp32":
            raise ValueError("qat rounds to 8 bits, which bf16 rounds again; use precision fp32")
        if self.epochs < 2:
            raise ValueError("qat observes ranges before it rounds; give at least 2 epochs")
        return self

    @model_validator(mode="after")
    def _fits_its_own_past(self) -> Self:
        if self.method not in ("ps-kd", "lsskd"):
            return self
        if self.task != "classification":
            raise ValueError(f"method {self.method} softens class labels; it is not for retrieval")
        if self.augment.mixup or self.augment.cutmix:
            raise ValueError(
                f"mixup and cutmix blend two samples; method {self.method} remembers single ones"
            )
        return self

    @model_validator(mode="after")
    def _fits_retrieval(self) -> Self:
        if self.task != "retrieval":
            return self
        if self.batch_size not in ("auto", self.retrieval.batch_size):
            raise ValueError(
                f"batch_size {self.batch_size}: for retrieval it is identities_per_batch times "
                f"images_per_identity, here {self.retrieval.batch_size}; leave it out"
            )
        if self.augment.mixup or self.augment.cutmix:
            raise ValueError("mixup and cutmix give an image two identities; not for retrieval")
        if self.kd != KdRecipe():
            raise ValueError("kd is for classification; set temperature and weights in retrieval")
        return self

    def settled(
        self, num_samples: int, *, num_identities: int | None = None, num_processes: int = 1
    ) -> "SettledRecipe":
        """The recipe with batch size and learning rate as numbers.

        Args:
            num_samples: Of the training split; a smaller split takes smaller batches.
            num_identities: Of the training split of retrieval: no more of them are in a batch.
            num_processes: Share a batch evenly.

        Source:
            The learning rate of SGD is proportional to the batch: Goyal et al. (2017),
            arXiv:1706.02677, section 2.1.
        """
        batch_size, lr, retrieval = self.batch_size, self.lr, self.retrieval
        if self.task == "retrieval":
            retrieval = retrieval.for_identities(num_identities, num_processes)
            batch_size = retrieval.batch_size
        elif batch_size == "auto":
            batch_size = _LARGEST_BATCH
            while batch_size > _SMALLEST_BATCH and num_samples < batch_size * _STEPS_PER_EPOCH:
                batch_size //= 2
            batch_size += -batch_size % num_processes
        if lr == "auto":
            lr = _SGD_LR * batch_size / _LARGEST_BATCH if self.optimizer == "sgd" else _ADAMW_LR
        return SettledRecipe.model_validate(
            {**self.model_dump(), "batch_size": batch_size, "lr": lr, "retrieval": retrieval}
        )


class SettledRecipe(TrainRecipe):
    """A recipe in which no number waits for the data."""

    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    lr: Annotated[float, Field(gt=0, le=100)]
