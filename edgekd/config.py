"""Recipes: one vocabulary for TOML files, command-line flags and ``--set``.

A recipe is validated in one go and every problem is reported together, with the file, the key,
the value found and what is allowed.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from edgekd.errors import ConfigError
from edgekd.records import Task

PrecisionChoice = Literal["auto", "fp32", "bf16"]
MethodName = Literal["none", "kd", "cdd"]


class Section(BaseModel):
    """Base of recipe tables: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AugmentRecipe(Section):
    """What is done to a training image; every entry can be switched off by the recipe.

    ``auto`` on ``flip`` and ``crop_padding`` resolves to on for natural images and off for
    small grey ones, where a mirrored digit is another symbol.
    """

    crop_padding: Annotated[int, Field(ge=0, le=64)] | Literal["auto"] = "auto"
    """Pixels of reflection padding before a random crop back to size; auto is 1/8 of the width."""
    flip: bool | Literal["auto"] = "auto"
    randaugment: Annotated[int, Field(ge=0, le=30)] = 0
    """RandAugment magnitude (0 is off), two operations per image; arXiv:1909.13719."""
    mixup: Annotated[float, Field(ge=0, le=8)] = 0.0
    """Beta parameter of mixup (0 is off); arXiv:1710.09412."""
    cutmix: Annotated[float, Field(ge=0, le=8)] = 0.0
    """Beta parameter of CutMix (0 is off); arXiv:1905.04899."""


class KdRecipe(Section):
    """Logit distillation; Hinton, Vinyals & Dean (2015), arXiv:1503.02531."""

    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    kd_weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of the soft loss; the labels' cross-entropy has the rest."""


class CddRecipe(Section):
    """Capacity Dynamic Distillation (CVPR 2023), doi:10.1109/CVPR52729.2023.01536.

    Defaults are the published configuration for MSMT17 where nothing else is said.
    """

    compression: Annotated[float, Field(gt=0, le=10)] = 0.004
    """Lambda: weight of the indicators' summed row norms, and the pull on a masked row."""
    mask: Literal["retrieval", "magnitude"] = "retrieval"
    """Which channels lose their task gradient: those that retrieval does without, or, as ResRep
    (arXiv:2007.03260) chooses, those whose indicator row is shortest; magnitude needs a target."""
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of a block's channels that count as small contributors of one neighbour pair."""
    num_neighbours: Annotated[int, Field(ge=1, le=1000)] = 2
    """Neighbours per image, the first of which is the image itself."""
    queue_size: Annotated[int, Field(ge=1, le=10_000_000)] = 24_000
    """Teacher vectors that neighbours are looked for in; at least one batch."""
    mask_from: Annotated[float, Field(ge=0, lt=1)] = 1 / 6
    """Length of the first phase, without any mask, as a share of the epochs."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 1e-5
    """An indicator row shorter than this is removed."""
    fit_weight: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Weight of the distance between teacher's and student's pooled maps, block by block."""
    indicator_lr_scale: Annotated[float, Field(gt=0, le=100)] = 1.0
    indicator_momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Momentum of the indicators; the recipe's own if left out. They have no weight decay."""
    target_macs: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the student's MACs that is to remain; edgekd's own, the paper has no target."""
    target_params: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the student's parameters that is to remain; give this or ``target_macs``."""
    shrink_while_training: bool = False
    """Remove dead channels after every epoch instead of after the last; edgekd's own."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.target_macs is not None and self.target_params is not None:
            raise ValueError("target_macs and target_params are two targets; give one")
        if self.mask == "magnitude" and self.target_macs is None and self.target_params is None:
            raise ValueError("mask magnitude has no end of its own; give a target too")
        return self


class RetrievalRecipe(Section):
    """Embeddings for retrieval: the network's head, its batches, and what its losses weigh.

    Margin, temperature and weights are those of Capacity Dynamic Distillation (CVPR 2023,
    arXiv:2303.09230), batches those of Hermans, Beyer & Leibe (2017), arXiv:1703.07737.
    """

    embedding_dim: Annotated[int, Field(ge=1, le=65_536)] = 512
    identities_per_batch: Annotated[int, Field(ge=2, le=65_536)] = 16
    images_per_identity: Annotated[int, Field(ge=1, le=65_536)] = 4
    triplet_margin: Annotated[float, Field(ge=0, le=100)] = 0.35
    temperature: Annotated[float, Field(gt=0, le=100)] = 2.0
    """Softmax temperature of the identity logits that are distilled."""
    kl_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of the identity logits' divergence, beside the label losses' 1."""
    fit_weight: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Weight of the distance of pooled features; 0 asks the teacher for none."""

    @property
    def batch_size(self) -> int:
        """Samples of one step."""
        return self.identities_per_batch * self.images_per_identity


class DataRecipe(Section):
    """Which data, and how it is split where it brings no split of its own."""

    data: str
    split: Annotated[tuple[float, float], Field()] = (0.15, 0.15)
    """Fractions of val and test, drawn by content hash, for data without a split."""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of train that becomes val where data has train and test but no val; for retrieval a
    share of its identities."""
    train_folder: str | None = None
    """Folder inside the data that is train, where it is not called so; with ``test_folder``."""
    test_folder: str | None = None
    group: str | None = None
    """Column of a manifest or array of an ``.npz`` that must not straddle splits."""
    max_bad_files: Annotated[int, Field(ge=0)] = 10
    """How many unreadable files are skipped (each is named) before it is an error."""
    download: bool = False

    @field_validator("split")
    @classmethod
    def _leaves_training_data(cls, value: tuple[float, float]) -> tuple[float, float]:
        if min(value) <= 0 or sum(value) >= 1:
            raise ValueError("val and test fractions must be > 0 and sum to less than 1")
        return value

    @model_validator(mode="after")
    def _names_both_folders(self) -> Self:
        folders = [f and f.strip("/") for f in (self.train_folder, self.test_folder)]
        if (folders[0] is None) != (folders[1] is None):
            raise ValueError("train_folder and test_folder belong together; give both")
        if folders[0] is not None and (folders[0] == folders[1] or "" in folders):
            raise ValueError("train_folder and test_folder must name two folders")
        return self


_RETRIEVAL_DEFAULTS: Final = {"label_smoothing": 0.1}  # arXiv:2303.09230; others as ever


class TrainRecipe(DataRecipe):
    """Everything ``edgekd teach`` and ``edgekd distill`` can be told."""

    task: Task = "classification"
    student: Annotated[str, Field(validation_alias=AliasChoices("student", "model"))]
    student_options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the architecture, for example ``{width = 32}``."""
    weights: Path | None = None
    """A safetensors file to start the student from."""
    pretrained: bool = False
    """Start a timm student or teacher from its published weights; may download."""
    teacher: str | None = None
    method: MethodName = "none"
    input_size: Annotated[int, Field(ge=4, le=4096)] | None = None
    fit: Literal["crop", "squash", "pad"] = "crop"

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0, le=100)] = 0.1
    min_lr: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    precision: PrecisionChoice = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    num_threads: Annotated[int, Field(ge=1)] | None = None
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    num_processes: Annotated[int, Field(ge=1)] = 1
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0

    augment: AugmentRecipe = AugmentRecipe()
    kd: KdRecipe = KdRecipe()
    retrieval: RetrievalRecipe = RetrievalRecipe()
    cdd: CddRecipe = CddRecipe()

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_retrieval(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("task") != "retrieval":
            return values
        try:
            table = RetrievalRecipe.model_validate(values.get("retrieval", {}))
        except ValidationError:  # reported where the table itself is validated
            return values
        return {**_RETRIEVAL_DEFAULTS, "batch_size": table.batch_size, **values}

    @model_validator(mode="after")
    def _fits_retrieval(self) -> Self:
        if self.task != "retrieval":
            return self
        if self.batch_size != self.retrieval.batch_size:
            raise ValueError(
                f"batch_size {self.batch_size}: for retrieval it is identities_per_batch times "
                f"images_per_identity, here {self.retrieval.batch_size}; leave it out"
            )
        if self.augment.mixup or self.augment.cutmix:
            raise ValueError("mixup and cutmix give an image two identities; not for retrieval")
        if self.kd != KdRecipe():
            raise ValueError("kd is for classification; set temperature and weights in retrieval")
        return self


class ExportRecipe(DataRecipe):
    """Everything ``edgekd export`` can be told."""

    data: str | None = None  # type: ignore[assignment]  # only int8 and the metric need samples
    formats: tuple[Literal["onnx", "tflite"], ...] = ("onnx", "tflite")
    int8: bool = False
    input_encoding: Literal["float32", "uint8"] = "float32"
    channel_last: bool = True
    """Layout of the TFLite input; ONNX keeps ``(B, C, H, W)``."""
    simplify: bool = True
    num_calibration: Annotated[int, Field(ge=1, le=100_000)] = 256
    num_parity: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Held-out samples (val) on which int8 outputs are compared."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    tolerance: Annotated[float, Field(gt=0)] = 1e-3
    """Largest difference of an fp32 logit from torch's, relative to max(1, largest logit)."""
    min_sqnr_db: float = 10.0
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.9
    max_drop: Annotated[float, Field(ge=0)] = 0.02
    """Largest loss of the task metric through int8, as a fraction (0.005 is half a point)."""


class BenchRecipe(DataRecipe):
    """Everything ``edgekd bench`` can be told."""

    data: str | None = None  # type: ignore[assignment]  # without data there is no metric
    device: str = "local"
    num_threads: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    num_warmup: Annotated[int, Field(ge=0)] = 10
    num_calls: Annotated[int, Field(ge=1)] = 200
    min_seconds: Annotated[float, Field(ge=0)] = 1.0
    """Calls go on until both ``num_calls`` and this much time have passed."""
    metric_split: Literal["train", "val", "test"] = "test"
    baseline: bool = False


_TOML_LIMIT: Final = 1 << 20  # a recipe is a page, not a data set


def read_recipe(path: Path) -> dict[str, Any]:
    """Parse a recipe file into plain values; nothing is validated yet.

    Raises:
        ConfigError: If the file is missing, larger than 1 MiB, or not TOML.
    """
    try:
        if path.stat().st_size > _TOML_LIMIT:
            raise ConfigError(f"{path}: larger than 1 MiB; a recipe is a short TOML file")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); expected a recipe"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error}); mend the line it names") from error


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Turn ``--set key=value`` strings into a nested dictionary.

    A value is read as TOML where it is TOML (``3``, ``true``, ``[1, 2]``) and as text otherwise,
    so ``--set augment.flip=false`` and ``--set student=resnet8`` both need no quotes.

    >>> parse_assignments(["epochs=3", "kd.temperature=2.5", "student=resnet8"])
    {'epochs': 3, 'kd': {'temperature': 2.5}, 'student': 'resnet8'}

    Raises:
        ConfigError: If an assignment has no ``=`` or no key.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--set {assignment}: expected key=value, for example epochs=10")
        *parents, leaf = key.strip().split(".")
        table = values
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {assignment}: {parent} was already set to a plain value")
        table[leaf] = _toml_value(text.strip())
    return values


def to_toml(recipe: Section) -> str:
    """A recipe as the TOML text that :func:`read_recipe` reads back; ``None`` is left out.

    >>> print(to_toml(KdRecipe()), end="")
    temperature = 4.0
    kd_weight = 0.9
    """
    return _toml_table(recipe.model_dump(mode="json"), ())


R = TypeVar("R", bound=Section)


def build_recipe(
    kind: type[R],
    *,
    recipe: Path | None = None,
    assignments: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> R:
    """Merge a recipe file, ``--set`` and flags (later wins) and validate the whole.

    Args:
        kind: Which recipe, for example :class:`TrainRecipe`.
        recipe: A TOML file, or nothing.
        assignments: ``key=value`` strings, dotted keys reach into tables.
        flags: Values of the command line; ``None`` means the flag was not given.

    Raises:
        ConfigError: With one line per problem: where, what was found, what is allowed.
    """
    merged = read_recipe(recipe) if recipe is not None else {}
    _merge(merged, parse_assignments(assignments))
    _merge(merged, {key: value for key, value in (flags or {}).items() if value is not None})
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_describe(error, str(recipe) if recipe else "command line")) from error


def _merge(base: dict[str, Any], extra: Mapping[str, Any]) -> None:
    if "model" in extra and "student" in base:  # two spellings of one key: the later one wins
        del base["student"]
    if "student" in extra and "model" in base:
        del base["model"]
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml_table(table: Mapping[str, Any], path: tuple[str, ...]) -> str:
    lines = [f"\n[{'.'.join(path)}]\n"] if path else []
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            # JSON's spelling of numbers, booleans, strings and arrays is also TOML's.
            lines.append(f"{_toml_key(key)} = {json.dumps(value, ensure_ascii=False)}\n")
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            lines.append(_toml_table(value, (*path, _toml_key(key))))
    return "".join(lines)


def _toml_key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "_").isidentifier()
    return key if bare else json.dumps(key, ensure_ascii=False)


def _describe(error: ValidationError, source: str) -> str:
    problems = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"]) or "(recipe)"
        if item["type"] == "missing":
            problems.append(f"{key}: missing; give it in the recipe or as a flag")
        elif item["type"] == "extra_forbidden":
            problems.append(f"{key} = {item['input']!r}: no such key; check the spelling")
        elif isinstance(item["input"], Mapping):  # values that do not fit together
            problems.append(f"{key}: {item['msg'].removeprefix('Value error, ')}")
        else:
            problems.append(f"{key} = {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return f"{source}: {len(problems)} problem(s) in the recipe\n  " + "\n  ".join(problems)
