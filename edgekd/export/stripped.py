"""The gate before any conversion: a bundle is the plain network its record describes."""

from pathlib import Path

from torch import nn

from edgekd.errors import BundleError, ModelError
from edgekd.records import StudentBundle
from edgekd.students.plain import require_plain


def require_stripped(folder: Path, record: StudentBundle, student: nn.Module) -> None:
    """Check that nothing of a method's training is left in what is about to be exported.

    Args:
        folder: The bundle's, for the message.
        record: Its record.
        student: The network with the bundle's weights.

    Raises:
        BundleError: If the network is not the plain one, or the record counts another one.
    """
    shapes = [spec.shape for spec in record.preprocess.inputs]
    try:
        cost = require_plain(student, record.arch, shapes)
    except ModelError as error:
        raise BundleError(f"{folder}: {error}") from error
    if (cost.num_params, cost.macs) != (record.num_params, record.macs):
        raise BundleError(
            f"{folder}: its record counts {record.num_params:,} parameters and {record.macs:,} "
            f"MACs, the plain network has {cost.num_params:,} and {cost.macs:,}; make the bundle "
            "again"
        )
