"""What happened in each epoch: a JSON-lines file and a TensorBoard event file beside it.

Both are written anew, atomically, from the rows in the checkpoint, so a resumed run has neither
gaps nor repeated epochs.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from edgekd.atomic import write_atomically

HISTORY_FILE: Final = "history.jsonl"
EVENTS_FILE: Final = "events.out.tfevents.edgekd"
_SHARE: Final = "_share"

Row = Mapping[str, Any]
"""``epoch``, ``step``, ``wall_time`` (seconds since 1970) and any number of scalars."""


def write_history(folder: Path, rows: Sequence[Row]) -> None:
    """Write both files.

    Raises:
        OutputError: If the folder cannot be written.
    """
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write_atomically(folder / HISTORY_FILE, lines.encode())
    write_atomically(folder / EVENTS_FILE, events(rows))


def epoch_line(row: Row, epochs: int) -> str:
    """A finished epoch in one line: loss, validation metrics, what is left of a network, seconds.

    >>> row = {"epoch": 0, "train_loss": 2.5, "val_top1": 0.25, "seconds": 3.21}
    >>> epoch_line(row, epochs=5)
    'epoch 1/5: loss 2.5000, val_top1 0.2500, 3.2 s'
    >>> epoch_line(row | {"macs_share": 0.5, "params_share": 0.48}, epochs=5)
    'epoch 1/5: loss 2.5000, val_top1 0.2500, macs 50.0 %, params 48.0 %, 3.2 s'
    """
    scores = [f"{name} {value:.4f}" for name, value in row.items() if name.startswith("val_")]
    left = [
        f"{name.removesuffix(_SHARE)} {value:.1%}".replace("%", " %")
        for name, value in row.items()
        if name.endswith(_SHARE)
    ]
    parts = [f"loss {row['train_loss']:.4f}", *scores, *left, f"{row['seconds']:.1f} s"]
    return f"epoch {row['epoch'] + 1}/{epochs}: {', '.join(parts)}"


def events(rows: Sequence[Row]) -> bytes:
    """The rows' scalars as a TensorBoard event file, without importing tensorflow."""
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    first = rows[0]["wall_time"] if rows else 0.0
    writer.write(Event(wall_time=first, file_version="brain.Event:2").SerializeToString())
    for row in rows:
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if isinstance(value, float) and name != "wall_time"
        ]
        event = Event(wall_time=row["wall_time"], step=row["epoch"], summary=Summary(value=values))
        writer.write(event.SerializeToString())
    return buffer.getvalue()
