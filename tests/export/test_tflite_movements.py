import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from tflite_builder import TfliteBuilder

from edgekd.errors import BundleError
from edgekd.export.tflite_movements import shorten_movements
from edgekd.export.tflite_schema import operator_name, parse_tflite

SHAPE = (1, 8, 6, 5)
PATCHES = [  # of 2 x 2, as a converter writes them for an image with channels last
    ("TRANSPOSE", (0, 3, 1, 2)), ("RESHAPE", (20, 2, 3, 2)), ("TRANSPOSE", (0, 2, 1, 3)),
    ("RESHAPE", (1, 5, 12, 4)), ("TRANSPOSE", (0, 3, 2, 1)), ("RESHAPE", (4, 12, 5)),
]  # fmt: skip


def moved(shape, kind, argument):
    return argument if kind == "RESHAPE" else tuple(shape[axis] for axis in argument)


def written(chain, *, shape=SHAPE, also_read=()):
    """A file: the input's negative, moved as the chain says, negated again.

    Args:
        also_read: Positions in the chain whose tensors are outputs of the file, too.
    """
    made = TfliteBuilder(shape)
    source, now, outputs = made.tensor("start", shape), shape, []
    made.operator("NEG", [0], source)
    for number, (kind, argument) in enumerate(chain):
        now = moved(now, kind, argument)
        target = made.tensor(f"t{number}", now)
        made.operator(kind, [source, made.constant(f"c{number}", np.int32(argument))], target)
        source = target
        if number in also_read:
            outputs.append(target)
    end = made.tensor("end", now)
    made.operator("NEG", [source], end)
    return made.content(end, *outputs)


def answers(content):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (x,) = interpreter.get_input_details()
    shape = tuple(x["shape"])
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    interpreter.set_tensor(x["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(out["index"]) for out in interpreter.get_output_details()]


def operators(content):
    model = parse_tflite(content, source="test")
    return [operator_name(model, op) for op in model.subgraphs[0].operators][1:-1]


def check_same(before, after):
    for expected, found in zip(answers(before), answers(after), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_patches_take_two_transposes_instead_of_three():
    before = written(PATCHES)
    after = shorten_movements(before)
    assert operators(before).count("TRANSPOSE") == 3
    assert operators(after).count("TRANSPOSE") == 2
    check_same(before, after)


def test_transposes_that_undo_each_other_are_gone():
    before = written([*PATCHES[:1], ("RESHAPE", (5, 48)), ("TRANSPOSE", (1, 0))])
    after = shorten_movements(before)
    assert operators(after) == ["RESHAPE"]
    check_same(before, after)


def test_no_tensor_of_more_than_four_axes_is_left():
    chain = [("RESHAPE", (1, 7, 3, 4, 2)), ("TRANSPOSE", (2, 0, 3, 1, 4))]
    before = written(chain, shape=(1, 7, 24))
    after = shorten_movements(before)
    assert operators(after).count("TRANSPOSE") == 1
    shapes = [tensor.shape for tensor in parse_tflite(after, source="").subgraphs[0].tensors]
    ranks = [len(shape) for shape in shapes]
    assert ranks.count(5) == 2  # what comes out, and its negative, are what they were
    check_same(before, after)


def test_a_file_that_has_no_reshape_is_left_alone():
    before = written([("TRANSPOSE", (0, 3, 1, 2)), ("TRANSPOSE", (0, 2, 3, 1))])
    assert shorten_movements(before) is before


def test_what_is_read_in_between_stays():
    before = written(PATCHES, also_read=(2,))
    after = shorten_movements(before)
    assert operators(after).count("TRANSPOSE") == 3
    check_same(before, after)


def test_the_shortest_chain_is_left_alone_byte_for_byte():
    before = written([("RESHAPE", (1, 48, 5)), ("TRANSPOSE", (0, 2, 1))])
    assert shorten_movements(before) is before


def test_unused_tensors_and_their_bytes_do_not_stay():
    model = parse_tflite(shorten_movements(written(PATCHES)), source="")
    graph = model.subgraphs[0]
    named = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs)}
    assert named == set(range(len(graph.tensors)))
    full = {i for i, b in enumerate(model.buffers) if b.data is not None and len(b.data)}
    assert full == {tensor.buffer for tensor in graph.tensors} - {0}


def test_damage_is_a_bundle_error():
    with pytest.raises(BundleError):
        shorten_movements(b"no file")
