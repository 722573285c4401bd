"""Looking into Keras files before TensorFlow does, with the standard library alone.

Keras' own ``safe_mode`` refuses lambdas; here everything is refused that names code outside
Keras, or a layer that opens other files or carries another framework's pickle.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from edgekd.errors import BundleError, ModelError

_MEMBERS: Final = {"metadata.json", "config.json", "model.weights.h5"}
_MODULE: Final = re.compile(
    r"keras(\.(layers|models|initializers|regularizers|constraints|activations|dtype_policies))?"
    r"|keras\.src\.(layers|models|ops|initializers|regularizers|constraints|activations)(\.\w+)*"
)
_REFUSED_LAYERS: Final = {
    *(
        "Lambda",
        "__lambda__",
        "function",
        "TorchModuleWrapper",
        "TFSMLayer",
        "JaxLayer",
        "FlaxLayer",
    ),
    *("StringLookup", "IntegerLookup", "TextVectorization"),
}
_TRAINING_ONLY: Final = "compile_config"  # not loaded: a teacher is not trained


def check_keras_archive(path: Path) -> None:
    """Refuse a ``.keras`` file that could run code.

    Raises:
        BundleError: If it is not a ``.keras`` archive, or damaged.
        ModelError: If it names anything but layers of Keras.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            config = json.loads(archive.read("config.json"))
        objects = list(_objects(config))
    except (zipfile.BadZipFile, OSError, KeyError, ValueError, RuntimeError) as error:
        raise BundleError(f"{path}: not a .keras archive ({error}); save it again") from error
    if len(set(names)) != len(names) or not set(names) <= _MEMBERS:
        raise ModelError(
            f"{path}: holds {sorted(set(names) - _MEMBERS) or names}; expected {sorted(_MEMBERS)}"
        )
    for module, name in objects:
        if name in _REFUSED_LAYERS or not _MODULE.fullmatch(module):
            raise ModelError(
                f"{path}: uses {module}.{name}, which could run code or open files; "
                "save a network of Keras' own layers"
            )


def _objects(value: Any) -> Iterator[tuple[str, str]]:
    """``(module, class name)`` of everything the configuration would create."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield str(value.get("module") or "keras"), str(value["class_name"])
        for key, part in value.items():
            if key != _TRAINING_ONLY:
                yield from _objects(part)
    elif isinstance(value, list):
        for part in value:
            yield from _objects(part)
