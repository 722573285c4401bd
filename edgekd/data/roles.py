"""Who asks and who is searched through in retrieval: the role of every sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROLES: Final[Mapping[str, tuple[bool, bool]]] = {
    "query": (True, False),
    "gallery": (False, True),
    "both": (True, True),
}
"""Words of a manifest: whether the sample asks, and whether it can be found."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Roles:
    """Which samples ask, and which can be found; without roles all do both.

    Attributes:
        is_query: ``(N,)``.
        is_gallery: ``(N,)``.
    """

    is_query: Mask
    is_gallery: Mask

    @classmethod
    def of(cls, words: Sequence[str]) -> Self:
        """The roles that :data:`ROLES` says, one word per sample.

        >>> Roles.of(["query", "both"]).is_gallery.tolist()
        [False, True]
        """
        table = np.array([ROLES[word] for word in words], dtype=np.bool_).reshape(-1, 2)
        return cls(is_query=table[:, 0], is_gallery=table[:, 1])

    def at(self, rows: NDArray[Any]) -> Self:
        """Those of some samples, by position or by mask."""
        return type(self)(is_query=self.is_query[rows], is_gallery=self.is_gallery[rows])

    def words(self) -> list[str]:
        """What :meth:`of` was given."""
        names = {flags: word for word, flags in ROLES.items()}
        pairs = zip(self.is_query.tolist(), self.is_gallery.tolist(), strict=True)
        return [names[pair] for pair in pairs]


def find_something(labels: Indices, cameras: Indices | None, roles: Roles | None) -> Mask:
    """``(N,)``: whether a sample asks and another one of its identity can be found.

    Args:
        labels: ``(N,)``, identities.
        cameras: ``(N,)`` where they are known: only a sample of another camera counts.
        roles: Of the samples, where they have any.
    """
    places = np.arange(len(labels)) if cameras is None else cameras
    everyone = np.ones(len(labels), np.bool_)
    asks = everyone if roles is None else roles.is_query
    listed = everyone if roles is None else roles.is_gallery
    _, identity = np.unique(labels, return_inverse=True)
    _, pair = np.unique(np.stack([labels, places]), axis=1, return_inverse=True)
    pair = pair.reshape(-1)
    of_identity = np.bincount(identity, weights=listed)[identity]
    of_pair = np.bincount(pair, weights=listed)[pair]  # these are out of the sample's own list
    return np.asarray(asks & (of_identity > of_pair))
