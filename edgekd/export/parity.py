"""Does the file answer like the network it was made from? Compared, recorded, and a gate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.config import ExportRecipe
from edgekd.evaluate.metrics import metric_from_logits
from edgekd.records import Parity, Precision, SplitName
from edgekd.runtimes.session import Session

Logits = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Samples and what the source network answers on them.

    Attributes:
        samples: Decoded, one array per input: uint8 ``(n, H, W, C)`` or float32 ``(n, C, T)``.
        logits: ``(n, K)`` of the network as trained, in float32.
        labels: ``(n,)``; ``None`` for made-up samples.
        split: Where the samples are from; ``None`` for made-up samples.
    """

    samples: Sequence[NDArray[Any]]
    logits: Logits
    labels: NDArray[np.int64] | None
    split: SplitName | None


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
    agreements = [_agreement(reference.logits, logits) for logits in found]
    ratios = [r for logits in found if (r := sqnr_db(reference.logits, logits)) is not None]
    return Parity(
        num_samples=len(reference.logits),
        batch_sizes=batch_sizes,
        split=reference.split,
        max_abs_err=max(_max_abs_err(reference.logits, logits) for logits in found),
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
    parity: Parity, precision: Precision, logits: Logits, recipe: ExportRecipe
) -> list[str]:
    """Why the gate refuses a file; empty where it does not.

    fp32 is judged by its largest error, relative to ``max(1, largest logit)``; int8 by SQNR,
    top-1 agreement and, where there are labels, loss of the metric.

    Args:
        parity: The comparison.
        precision: Of the file.
        logits: ``(n, K)`` of the source, for the scale of the error.
        recipe: The limits.
    """
    if precision == "fp32":
        limit = recipe.tolerance * max(1.0, float(np.abs(logits).max()))
        if parity.max_abs_err <= limit:
            return []
        return [f"a logit differs by {parity.max_abs_err:.2e}, allowed is {limit:.2e}"]
    found = []
    if parity.sqnr_db is not None and parity.sqnr_db < recipe.min_sqnr_db:
        found.append(f"SQNR is {parity.sqnr_db:.1f} dB, required is {recipe.min_sqnr_db:g} dB")
    if parity.top1_agreement < recipe.min_agreement:
        found.append(
            f"top-1 agrees on {parity.top1_agreement:.1%}, required is {recipe.min_agreement:.1%}"
        )
    if parity.metric_drop is not None and parity.metric_drop > recipe.max_drop:
        found.append(f"top-1 drops by {parity.metric_drop:.4f}, allowed is {recipe.max_drop:g}")
    return found


def _agreement(source: Logits, found: Logits) -> float:
    return float((source.argmax(axis=1) == found.argmax(axis=1)).mean())


def _max_abs_err(source: Logits, found: Logits) -> float:
    return float(np.abs(source.astype(np.float64) - found).max())


def _metric_drop(reference: Reference, found: Sequence[Logits]) -> float | None:
    """Source minus file, as a fraction; negative where the file happens to be better."""
    labels, split = reference.labels, reference.split
    if labels is None or split is None:
        return None
    source = metric_from_logits(reference.logits, labels, split=split).value
    return max(source - metric_from_logits(x, labels, split=split).value for x in found)
