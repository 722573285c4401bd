"""The network of a folder: a bundle's student, or a program that stands in for one."""

from pathlib import Path

from torch import nn

from edgekd.export.program import PROGRAM_FILE, load_copied_program
from edgekd.export.stripped import require_stripped
from edgekd.records import StudentBundle
from edgekd.students.build import load_student


def load_network(folder: Path) -> tuple[StudentBundle, nn.Module]:
    """Record and network, in eval mode.

    Args:
        folder: A bundle, or what :func:`edgekd.export.sources.bundle_of` made of a program.

    Raises:
        BundleError: If it is damaged.
        ModelError: If it holds a program that cannot be exported.
    """
    if (folder / PROGRAM_FILE).is_file():
        return load_copied_program(folder)
    return load_student(folder)


def load_plain_network(folder: Path) -> tuple[StudentBundle, nn.Module]:
    """As :func:`load_network`; of a student nothing may be left that was for training only.

    Raises:
        BundleError: If it is damaged, or not the plain network of its architecture.
        ModelError: If it holds a program that cannot be exported.
    """
    record, network = load_network(folder)
    if not (
        folder / PROGRAM_FILE
    ).is_file():  # a program is what it is: there is nothing to rebuild
        require_stripped(folder, record, network)
    return record, network
