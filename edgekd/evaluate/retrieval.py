"""Searching by embedding: how far up the list the right answers stand. NumPy alone.

Every sample asks once and is searched through for all others, unless the data say by a role which
of them are queries and which the gallery holds. Similarity is the cosine of two embeddings. What a
query must not find is left out of its list: itself and, where cameras are known, every sample of
its identity from its own camera, which is often the next frame of the same film. A query whose
identity has nothing else to find is skipped and counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.data.roles import Roles

Indices = NDArray[np.int64]
Embeddings = NDArray[np.floating[Any]]

RANKS: Final = (1, 5, 10)
_STEPS: Final = float(1 << 20)  # similarities that differ by less are equal
_BLOCK_BYTES: Final = 32 << 20  # of float32 similarities held at a time


@dataclass(frozen=True, kw_only=True)
class RetrievalScores:
    """Means over the queries that had something to find, as fractions.

    Attributes:
        mean_ap: Mean average precision.
        recall_at: Rank ``k`` to the share of queries with a right answer among the first ``k``
            (the CMC curve at ``k``).
        num_queries: How many the means are over, at least one.
        num_skipped: Queries that had nothing to find.
    """

    mean_ap: float
    recall_at: Mapping[int, float]
    num_queries: int
    num_skipped: int


def retrieval_scores(
    embeddings: Embeddings,
    identities: Indices,
    cameras: Indices | None = None,
    roles: Roles | None = None,
    *,
    ranks: Sequence[int] = RANKS,
    block_bytes: int = _BLOCK_BYTES,
) -> RetrievalScores:
    """Scores of all-versus-all retrieval, or of queries against a gallery.

    Average precision is the mean, over the right answers of a query, of the share of right ones
    among all answers down to it. Among equal similarities the wrong answers stand first, so the
    scores depend on no order of the samples and a network that answers the same to everything
    scores as badly as can be.

    >>> points = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.6, 0.6]])
    >>> scores = retrieval_scores(points, np.array([0, 0, 1, 1]))
    >>> round(scores.mean_ap, 4), scores.recall_at[1]  # the last one finds 1 and 0 first
    (0.8333, 0.75)

    Args:
        embeddings: ``(N, D)``; only their directions count, a row of zeros is equally unlike all.
        identities: ``(N,)``.
        cameras: ``(N,)``, or ``None`` where they are not known.
        roles: Which samples ask and which are in the list; ``None`` for all in both.
        ranks: Which recalls to take.
        block_bytes: Bound of the similarities held at a time; their rows are the queries.

    Raises:
        ValueError: If the shapes do not match, an embedding is not finite, or no sample has
            anything to find.
    """
    _check(embeddings, identities, cameras, roles)
    precisions, firsts = [], []
    own = _members(identities)
    everyone = np.ones(len(embeddings), np.bool_)
    listed = everyone if roles is None else roles.is_gallery
    queries = None if roles is None else np.flatnonzero(roles.is_query)
    unlisted = np.flatnonzero(~listed)
    for query, similarities in _similarity_rows(embeddings, block_bytes, queries):
        mine = own[int(identities[query])]
        found = mine[mine != query] if cameras is None else mine[cameras[mine] != cameras[query]]
        found = found[listed[found]]
        if len(found) == 0:
            continue
        hits = np.sort(similarities[found])[::-1]
        similarities[mine] = similarities[unlisted] = -np.inf  # left are the wrong answers
        places = _places(hits, similarities)
        precisions.append(float((np.arange(1, len(hits) + 1) / places).mean()))
        firsts.append(int(places[0]))
    if not firsts:
        raise ValueError("no sample has another one of its identity to find")
    return RetrievalScores(
        mean_ap=float(np.mean(precisions)),
        recall_at={rank: float(np.mean(np.array(firsts) <= rank)) for rank in ranks},
        num_queries=len(firsts),
        num_skipped=(len(embeddings) if queries is None else len(queries)) - len(firsts),
    )


def nearest_others(embeddings: Embeddings, *, block_bytes: int = _BLOCK_BYTES) -> Indices:
    """``(N,)``: for every sample the most similar other one, the first of several equal ones.

    Args:
        embeddings: ``(N, D)``, at least two rows.
        block_bytes: As in :func:`retrieval_scores`.

    Raises:
        ValueError: If there are fewer than two samples or an embedding is not finite.
    """
    if embeddings.ndim != 2 or len(embeddings) < 2:
        raise ValueError(f"expected at least two embeddings (N, D), found {embeddings.shape}")
    nearest = np.empty(len(embeddings), np.int64)
    for query, similarities in _similarity_rows(embeddings, block_bytes):
        similarities[query] = -np.inf
        nearest[query] = similarities.argmax()
    return nearest


def _check(
    embeddings: Embeddings, identities: Indices, cameras: Indices | None, roles: Roles | None
) -> None:
    given = {
        "identities": identities,
        "cameras": cameras,
        "queries": None if roles is None else roles.is_query,
        "gallery": None if roles is None else roles.is_gallery,
    }
    shapes = {name: values.shape for name, values in given.items() if values is not None}
    rows = embeddings.shape[:1]
    if embeddings.ndim != 2 or rows[0] == 0 or any(shape != rows for shape in shapes.values()):
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"expected (N, D) embeddings and (N,) of all else: {embeddings.shape}, {found}"
        )


def _members(identities: Indices) -> dict[int, Indices]:
    """Positions of every identity."""
    order = np.argsort(identities, kind="stable")
    values, starts = np.unique(identities[order], return_index=True)
    groups = np.split(order, starts[1:])
    return {int(value): group for value, group in zip(values, groups, strict=True)}


def _similarity_rows(
    embeddings: Embeddings, block_bytes: int, queries: Indices | None = None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Every query (every sample, where none are named) with its cosine to all samples, ``(N,)``.

    The caller may overwrite it; the next block does.
    """
    unit = _directions(embeddings, block_bytes)
    count = len(unit)
    numbers = np.arange(count) if queries is None else queries
    rows = max(1, min(len(numbers), block_bytes // (4 * count)))
    room = np.empty((rows, count), np.float32)
    for start in range(0, len(numbers), rows):
        asking = numbers[start : start + rows]
        part = unit[start : start + rows] if queries is None else unit[asking]
        block = np.matmul(part, unit.T, out=room[: len(part)])
        # Sums of other orders differ in the last bits; equal answers have to be equally similar.
        np.rint(np.multiply(block, _STEPS, out=block), out=block)
        block /= _STEPS
        yield from zip(asking.tolist(), block, strict=True)


def _directions(embeddings: Embeddings, block_bytes: int) -> NDArray[np.float32]:
    """``(N, D)`` of unit length, rows of zeros as they are; block by block in double precision."""
    unit = np.empty(embeddings.shape, np.float32)
    rows = max(1, block_bytes // (8 * max(1, embeddings.shape[1])))
    for start in range(0, len(unit), rows):
        block = embeddings[start : start + rows].astype(np.float64)
        if not np.isfinite(block).all():
            raise ValueError("embeddings contain NaN or infinity")
        block /= _or_one(np.abs(block).max(axis=1, keepdims=True, initial=0))  # squares stay finite
        block /= _or_one(np.linalg.norm(block, axis=1, keepdims=True))
        unit[start : start + rows] = block
    return unit


def _or_one(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(lengths == 0, 1, lengths)


def _places(hits: NDArray[np.float32], others: NDArray[np.float32]) -> Indices:
    """Where the right answers stand in the list, from 1.

    Args:
        hits: Similarities of the right answers, falling.
        others: ``(N,)`` similarities of the wrong ones, ``-inf`` for what is in no list.
    """
    rising = np.sort(others)
    above = len(rising) - np.searchsorted(rising, hits, side="left")
    return np.asarray(above + np.arange(1, len(hits) + 1), dtype=np.int64)
