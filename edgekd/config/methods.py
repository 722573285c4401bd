"""Tables of single methods: what the published systems leave to be set."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from edgekd.config.section import Section

MethodName = Literal["none", "kd", "cdd", "ps-kd", "lsskd"]
TransformationName = Literal["rotate", "colour", "patches", "reverse", "negate", "permute", "scale"]

READERS: Final[Mapping[str, tuple[MethodName, ...]]] = {
    "kd.kd_weight": ("kd", "cdd"),  # lsskd has a weight of its own
    "kd": ("kd", "cdd", "lsskd"),
    "cdd": ("cdd",),
    "retrieval.temperature": ("kd", "cdd"),
    "retrieval.kl_weight": ("kd", "cdd"),
    "retrieval.fit_weight": ("kd",),  # cdd has one of its own
    "soft_labels": ("ps-kd", "lsskd"),
    "lsskd": ("lsskd",),
}
"""Tables and fields that not every method reads, and the methods that do; a field comes before its
table, whose reason would hide its own."""


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
    """Share of the student's MACs that is to remain; edgekd's own, the paper has no target. With
    ``target_params`` too, both are steered to."""
    target_params: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the student's parameters that is to remain."""
    shrink_while_training: bool = False
    """After every epoch, remove what dead channels still compute behind the indicators, which
    changes nothing of what is learned; the rest goes after the last. edgekd's own."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.mask == "magnitude" and self.target_macs is None and self.target_params is None:
            raise ValueError("mask magnitude has no end of its own; give a target too")
        return self


class SoftLabelsRecipe(Section):
    """Labels softened by what the network answered before; PS-KD (ICCV 2021), arXiv:2006.12000."""

    weight: Annotated[float, Field(ge=0, lt=1)] = 0.8  # PS-KD, section 4: alpha_T
    """Alpha_T: share of the past answer in the last epoch; in epoch e (from 0) of E it is
    ``weight * (e + 1) / E``. 0 keeps the labels hard."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Of the softmax that is remembered."""
    source: Literal["auto", "table", "previous", "ema"] = "auto"
    """``table`` remembers what was answered for every sample; ``previous`` runs the network as it
    was an epoch ago, ``ema`` its moving average. ``auto`` takes the table where it fits."""
    table_limit_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Largest table, in MB of half precision; it is part of every checkpoint."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Per step, for ``ema``."""


class LsskdRecipe(Section):
    """Layered self-supervised distillation, arXiv:2506.07055; a reconstruction.

    The paper publishes neither weights nor temperatures; the defaults follow its two ingredients,
    HSAKD (IJCAI 2021, arXiv:2107.13715) and PS-KD, where those say something.
    """

    branch: Literal["copy", "light"] = "copy"
    """A branch after a stage is a copy of all stages behind it, or one 1x1 convolution."""
    num_branches: Annotated[int, Field(ge=1, le=100)] | None = None
    """How many stages have one, counted from the last; all of them if left out."""
    transformations: tuple[TransformationName, ...] | Literal["auto"] = "auto"
    """What is to be told apart besides the class. ``auto``: rotations for square colour images,
    patches for others; for sensors reversal, negation, permuted segments and scaling, without
    those that a window is too short for. Where there are images and sensors, as many for each."""
    head_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of each branch's cross-entropy over classes and transformations; 0 is off, and leaves
    branches to which nobody shows a label."""
    kl_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Beta: weight of what the deepest branch teaches the others and the network itself; 0 is
    off."""
    kl_ramp_epochs: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Epochs over which ``kl_weight`` rises to its value."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 3.0  # HSAKD's code
    """Softmax temperature of that teaching."""
    feature_weight: Annotated[float, Field(ge=0, le=100)] = 0.05
    """Delta: weight of the distance of a branch's pooled features from the last stage's; 0 is
    off."""
    teacher_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of an external teacher's divergence, softened as ``kd.temperature`` says; of use with
    a teacher only, which the paper does not have."""


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

    def for_identities(self, count: int | None, num_processes: int) -> "RetrievalRecipe":
        """With no more identities in a batch than there are (``None``: enough), shared evenly."""
        fitting = self.identities_per_batch if count is None else count
        fitting = min(self.identities_per_batch, fitting)
        fitting -= fitting % num_processes
        if fitting < 2:  # nothing to compare: said where the data are known
            return self
        return self.model_copy(update={"identities_per_batch": fitting})
