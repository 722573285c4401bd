"""Does the file answer like the network it was made from? Compared, recorded, and a gate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekd.config import ExportRecipe
from edgekd.data.roles import Roles
from edgekd.evaluate.metrics import metrics_of
from edgekd.evaluate.retrieval import nearest_others
from edgekd.records import Metric, Parity, Precision, SplitName, Task
from edgekd.runtimes.session import Session

_ROUNDING: Final = 1e-9  # of the difference of two metrics

Logits = NDArray[np.float32]
"""``(n, K)``; of a network for retrieval its embeddings, ``(n, D)``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Samples and what the source network answers on them.

    Attributes:
        samples: Decoded, one array per input: uint8 ``(n, H, W, C)`` or float32 ``(n, C, T)``.
        logits: ``(n, K)`` of the network as trained, in float32; ``(n, D)`` for retrieval.
        labels: ``(n,)``, classes or identities; ``None`` for made-up samples.
        split: Where the samples are from; ``None`` for made-up samples.
        cameras: ``(n,)`` where the data knows them.
        roles: Who asks and who is searched through, where the data says it.
        task: What the answers are for.
        unquantized: What the float network inside a file answers, where that is not ``logits``:
            what its rounding errors are against.
    """

    samples: Sequence[NDArray[Any]]
    logits: Logits
    labels: NDArray[np.int64] | None
    split: SplitName | None
    cameras: NDArray[np.int64] | None = None
    roles: Roles | None = None
    task: Task = "classification"
    unquantized: Logits | None = None

    @property
    def exact(self) -> Logits:
        """What a file without any rounding would answer."""
        return self.logits if self.unquantized is None else self.unquantized

    def metrics(self, answers: Logits) -> tuple[Metric, ...]:
        """The task's metrics of ``answers``; none for made-up samples."""
        if self.labels is None or self.split is None:
            return ()
        return metrics_of(
            self.task, answers, self.labels, self.cameras, self.roles, split=self.split
        )


def run_session(session: Session, samples: Sequence[NDArray[Any]], *, batch: int) -> Logits:
    """All logits of a file, fed the way a device feeds it.

    Args:
        session: An open file with its encodings.
        samples: Decoded, one array per input, n samples each.
        batch: Samples per call; the last call takes what is left.

    Returns:
        ``(n, K)``.
    """
    rows = len(samples[0])
    parts = [
        session.decode(session.invoke(session.encode([x[i : i + batch] for x in samples])))
        for i in range(0, rows, batch)
    ]
    return np.concatenate(parts)


def compare(
    reference: Reference,
    answer: Callable[[int], Logits],
    *,
    batch_sizes: tuple[int, ...],
    tolerance: float | None,
) -> Parity:
    """How far a file is from its source; the worst of all batch sizes counts.

    Args:
        reference: What is right.
        answer: Batch size to the file's ``(n, K)`` logits on the reference's samples.
        batch_sizes: Which to try.
        tolerance: Recorded with the figures; relative, see :func:`problems`.
    """
    found = [answer(batch) for batch in batch_sizes]
    agreements = [_agreement(reference, logits) for logits in found]
    ratios = [r for logits in found if (r := sqnr_db(reference.exact, logits)) is not None]
    return Parity(
        num_samples=len(reference.logits),
        batch_sizes=batch_sizes,
        split=reference.split,
        max_abs_err=max(_max_abs_err(reference.exact, logits) for logits in found),
        tolerance=tolerance,
        sqnr_db=min(ratios) if ratios else None,
        top1_agreement=min(agreements),
        metric_drop=_metric_drop(reference, found),
    )


def sqnr_db(source: Logits, found: Logits) -> float | None:
    """Signal to quantization noise: ``10 log10(sum source^2 / sum (source - found)^2)``.

    ``None`` where the two are equal, or the source is all zeros: there is no ratio.

    >>> sqnr_db(np.float32([[3, 4]]), np.float32([[3, 4.5]]))
    20.0
    """
    noise = float(np.square(source.astype(np.float64) - found).sum())
    signal = float(np.square(source.astype(np.float64)).sum())
    if noise == 0 or signal == 0:
        return None
    return float(10 * np.log10(signal / noise))


def problems(
    parity: Parity,
    precision: Precision,
    logits: Logits,
    recipe: ExportRecipe,
    *,
    task: Task = "classification",
) -> list[str]:
    """Why the gate refuses a file; empty where it does not.

    fp32 is judged by its largest error, relative to ``max(1, largest logit)``; int8 by SQNR,
    top-1 agreement and, where there are labels, loss of the metric.

    Args:
        parity: The comparison.
        precision: Of the file.
        logits: ``(n, K)`` of the source, for the scale of the error.
        recipe: The limits.
        task: How the answers are called.
    """
    words = _WORDS[task]
    if precision == "fp32":
        limit = recipe.tolerance * max(1.0, float(np.abs(logits).max()))
        if parity.max_abs_err <= limit:
            return []
        return [f"{words.value} differs by {parity.max_abs_err:.2e}, allowed is {limit:.2e}"]
    found = []
    if parity.sqnr_db is not None and parity.sqnr_db < recipe.min_sqnr_db:
        found.append(f"SQNR is {parity.sqnr_db:.1f} dB, required is {recipe.min_sqnr_db:g} dB")
    if parity.top1_agreement < recipe.min_agreement:
        found.append(
            f"{words.first} agrees on {parity.top1_agreement:.1%}, "
            f"required is {recipe.min_agreement:.1%}"
        )
    if parity.metric_drop is not None and loses_too_much(parity, recipe):
        allowed = 100 * recipe.allowed_drop(parity.num_samples)
        found.append(
            f"{words.metric} drops by {100 * parity.metric_drop:.2f} points on "
            f"{parity.num_samples} samples, allowed is {allowed:.2f}"
        )
    return found


def loses_too_much(parity: Parity, recipe: ExportRecipe) -> bool:
    """Whether a file loses more of the metric than the recipe allows; not without labels."""
    allowed = recipe.allowed_drop(parity.num_samples) + _ROUNDING
    return parity.metric_drop is not None and parity.metric_drop > allowed


class _Words(NamedTuple):
    """How the answers of a task are called."""

    value: str
    first: str
    metric: str


_WORDS: Final[Mapping[Task, _Words]] = {
    "classification": _Words(value="a logit", first="top-1", metric="top-1"),
    "retrieval": _Words(value="an embedding", first="nearest neighbour", metric="mean_ap"),
}


def _agreement(reference: Reference, found: Logits) -> float:
    """Share of samples with the same first answer.

    For retrieval that is the nearest other sample, by the cosine of their embeddings: the same
    one, or another one of the same identity where identities are known.
    """
    if reference.task == "classification":
        return float((reference.logits.argmax(axis=1) == found.argmax(axis=1)).mean())
    before, after = nearest_others(reference.logits), nearest_others(found)
    agrees = before == after
    if reference.labels is not None:
        agrees |= reference.labels[before] == reference.labels[after]
    return float(agrees.mean())


def _max_abs_err(source: Logits, found: Logits) -> float:
    return float(np.abs(source.astype(np.float64) - found).max())


def _metric_drop(reference: Reference, found: Sequence[Logits]) -> float | None:
    """Source minus file, as a fraction; negative where the file happens to be better."""
    source = reference.metrics(reference.logits)
    if not source:
        return None
    return max(source[0].value - reference.metrics(answers)[0].value for answers in found)
