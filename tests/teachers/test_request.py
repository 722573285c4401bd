from collections.abc import Callable

import pytest

from edgekd.errors import ModelError
from edgekd.teachers.request import TeacherRequest

Asked = Callable[..., TeacherRequest]


def test_the_datas_own_labels_pass(asked: Asked, classes: tuple[str, ...]) -> None:
    asked().check_labels(classes)


def test_the_first_label_that_differs_is_named(asked: Asked) -> None:
    with pytest.raises(ModelError, match="its class 2 is 'dog', the data's is 'cat'"):
        asked().check_labels(["ant", "bee", "dog", "cat", "eel"])


def test_another_number_of_classes(asked: Asked) -> None:
    with pytest.raises(ModelError, match=r"answers 1000 classes, the data has 5;.*edgekd teach"):
        asked().check_num_classes(1000)


def test_options_where_none_are_understood(asked: Asked) -> None:
    asked().refuse_options()
    with pytest.raises(ModelError, match="brings its own normalisation"):
        asked(options={"mean": (0.5,)}).refuse_options()
