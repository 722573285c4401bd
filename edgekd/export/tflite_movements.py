"""Chains of RESHAPE and TRANSPOSE in a TFLite file, written with as few transposes as possible.

A converter turns each view of the network into an operator of its own and surrounds what computes
in another layout with transposes. Many of them undo each other, or are one transpose together. No
value changes: values only move.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.export.movement import Movement, Shape, Step
from edgekd.export.tflite_schema import (
    constant_bytes,
    operator_name,
    pack_tflite,
    parse_tflite,
    type_name,
)

_MOST_AXES: Final = 4
_KINDS: Final = ("RESHAPE", "TRANSPOSE")


def shorten_movements(content: bytes) -> bytes:
    """The same file with shorter chains; ``content`` itself where none can be shortened.

    Args:
        content: A TFLite file.

    Raises:
        BundleError: If it is damaged.
    """
    model = parse_tflite(content, source="the converter's file")
    graph = _Graph(model)
    if graph.templates.keys() != set(_KINDS):
        return content
    changes = {id(chain[-1]): new for chain in graph.chains() if (new := graph.shorter(chain))}
    if not changes:
        return content
    gone = {id(op) for new in changes.values() for op in new.replaced}
    operators = []
    for op in graph.operators:
        if id(op) in changes:
            operators += graph.write(changes[id(op)])
        elif id(op) not in gone:
            operators.append(op)
    model.subgraphs[0].operators = operators
    _drop_unused_tensors(model)
    return pack_tflite(model)


class _Shorter:
    """What takes the place of a chain."""

    def __init__(self, replaced: Sequence[Any], steps: Sequence[Step]) -> None:
        self.replaced, self.steps = replaced, steps
        self.source, self.target = int(replaced[0].inputs[0]), int(replaced[-1].outputs[0])


class _Graph:
    def __init__(self, model: Any) -> None:
        self._model, graph = model, model.subgraphs[0]
        self._tensors = graph.tensors
        self.operators: list[Any] = list(graph.operators)
        self._names = [operator_name(model, op) for op in self.operators]
        self.templates: dict[str, Any] = {
            name: op
            for op, name in zip(self.operators, self._names, strict=True)
            if name in _KINDS and len(op.inputs) > 1
        }
        self._kinds = {id(op): name for op, name in zip(self.operators, self._names, strict=True)}
        self._ends = {int(index) for index in graph.outputs}
        self._readers: dict[int, list[Any]] = {}
        for op in self.operators:
            for index in op.inputs:
                self._readers.setdefault(int(index), []).append(op)

    def chains(self) -> Iterator[list[Any]]:
        """Longest runs of movements that nobody reads from in between."""
        seen: set[int] = set()
        for op in self.operators:
            chain: list[Any] = []
            following: Any = op
            while following is not None and id(following) not in seen and self._moves(following):
                chain.append(following)
                seen.add(id(following))
                following = self._only_reader(following)
            if chain:
                yield chain

    def shorter(self, chain: Sequence[Any]) -> _Shorter | None:
        """What does the same with fewer transposes, or else fewer axes or operators."""
        moved = Movement(self._shape(chain[0].inputs[0]))
        for op in chain:
            if self._kinds[id(op)] == "TRANSPOSE":
                moved.transpose([int(axis) for axis in self._constant(op.inputs[1])])
            elif not moved.reshape(self._shape(op.outputs[0])):
                return None
        steps = moved.steps()
        if steps is None:
            return None
        new = _Shorter(chain, steps)
        transposes = sum(self._kinds[id(op)] == "TRANSPOSE" for op in chain)
        axes = max(_MOST_AXES, *(len(self._shape(op.outputs[0])) for op in chain))
        own = (len(steps), _MOST_AXES, len(self._plan(new)))
        return new if own < (transposes, axes, len(chain)) else None

    def write(self, new: _Shorter) -> list[Any]:
        """The operators of a shorter chain; their tensors are appended."""
        made, source = [], new.source
        name = self._tensors[new.target].name.decode()
        plan = self._plan(new)
        for number, (kind, argument, shape) in enumerate(plan, start=1):
            target = new.target
            if number < len(plan):
                target = self._add_tensor(f"{name}/moved{number}", new.target, shape)
            op = copy.copy(self.templates[kind])
            constant = self._add_constant(f"{name}/{kind.lower()}{number}", argument)
            op.inputs, op.outputs = [source, constant], [target]
            if kind == "RESHAPE" and op.builtinOptions is not None:
                op.builtinOptions = copy.copy(op.builtinOptions)
                op.builtinOptions.newShape = list(argument)
            made.append(op)
            source = target
        return made

    def _plan(self, new: _Shorter) -> list[tuple[str, Shape, Shape]]:
        """Kind, its constant argument, and the shape that comes out, of every operator."""
        plan: list[tuple[str, Shape, Shape]] = []
        now, end = self._shape(new.source), self._shape(new.target)
        for shape, axes in new.steps:
            if shape != now:
                plan.append(("RESHAPE", shape, shape))
            now = tuple(shape[axis] for axis in axes)
            plan.append(("TRANSPOSE", axes, now))
        if now != end or not plan:  # somebody has to make the last tensor
            plan.append(("RESHAPE", end, end))
        return plan

    def _moves(self, op: Any) -> bool:
        kind = self._kinds[id(op)]
        if kind not in _KINDS or self._is_constant(op.inputs[0]):
            return False
        return kind == "RESHAPE" or self._is_constant(op.inputs[1])

    def _only_reader(self, op: Any) -> Any:
        """Who alone reads what an operator makes, if it reads nothing else of it."""
        made = int(op.outputs[0])
        readers = self._readers.get(made, [])
        if made in self._ends or len(readers) != 1 or int(readers[0].inputs[0]) != made:
            return None
        return readers[0]

    def _shape(self, index: int) -> Shape:
        shape = self._tensors[index].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def _is_constant(self, index: int) -> bool:
        return constant_bytes(self._model, self._tensors[index]) is not None

    def _constant(self, index: int) -> NDArray[Any]:
        data = self._model.buffers[self._tensors[index].buffer].data
        return np.asarray(data, np.uint8).view(type_name(self._tensors[index]))

    def _add_tensor(self, name: str, like: int, shape: Shape) -> int:
        tensor = copy.copy(self._tensors[like])
        tensor.name, tensor.shape, tensor.shapeSignature = name.encode(), list(shape), None
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _add_constant(self, name: str, values: Shape) -> int:
        template = self._tensors[self.templates["TRANSPOSE"].inputs[1]]
        buffer = copy.copy(self._model.buffers[template.buffer])
        buffer.data = np.array(values, type_name(template)).view(np.uint8)
        self._model.buffers.append(buffer)
        tensor = copy.copy(template)
        tensor.name, tensor.shape, tensor.shapeSignature = name.encode(), [len(values)], None
        tensor.buffer = len(self._model.buffers) - 1
        self._tensors.append(tensor)
        return len(self._tensors) - 1


def _drop_unused_tensors(model: Any) -> None:
    """Without tensors that no operator names any more, and without their bytes."""
    graph = model.subgraphs[0]
    fields = ("inputs", "outputs", "intermediates")
    lists = [(op, field) for op in graph.operators for field in fields]
    lists += [(graph, field) for field in fields[:2]]
    named = [(owner, field) for owner, field in lists if getattr(owner, field) is not None]
    used = sorted({int(i) for owner, field in named for i in getattr(owner, field)} - {-1})
    new: Mapping[int, int] = {old: number for number, old in enumerate(used)} | {-1: -1}
    graph.tensors = [graph.tensors[old] for old in used]
    for owner, field in named:
        setattr(owner, field, [new[int(i)] for i in getattr(owner, field)])
    for signature in model.signatureDefs or []:
        for entry in (*(signature.inputs or []), *(signature.outputs or [])):
            entry.tensorIndex = new[int(entry.tensorIndex)]
    kept = {int(t.buffer) for part in model.subgraphs for t in part.tensors}
    kept |= {int(entry.buffer) for entry in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in kept:
            buffer.data = None
