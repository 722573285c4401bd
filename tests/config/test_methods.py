from typing import get_args

from edgekd.config import MethodName, TrainRecipe
from edgekd.config.methods import READERS


def test_every_entry_is_a_field_and_names_methods():
    for key, readers in READERS.items():
        kind = TrainRecipe
        for name in key.split("."):
            kind = kind.model_fields[name].annotation
        assert readers
        assert set(readers) < set(get_args(MethodName))
