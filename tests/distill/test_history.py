import json

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from edgekd.distill.history import EVENTS_FILE, HISTORY_FILE, write_history

ROWS = [
    {"epoch": 0, "step": 5, "train_loss": 2.5, "val_top1": 0.25, "wall_time": 100.0},
    {"epoch": 1, "step": 10, "train_loss": 1.5, "val_top1": 0.5, "wall_time": 101.0},
]


def test_the_json_lines_are_the_rows(tmp_path):
    write_history(tmp_path, ROWS)
    lines = (tmp_path / HISTORY_FILE).read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS


def test_tensorboard_reads_the_event_file(tmp_path):
    write_history(tmp_path, ROWS)
    events = list(LegacyEventFileLoader(str(tmp_path / EVENTS_FILE)).Load())
    scalars = {
        (event.step, value.tag): value.simple_value
        for event in events
        for value in event.summary.value
    }
    assert scalars == {
        (0, "train_loss"): 2.5,
        (0, "val_top1"): 0.25,
        (1, "train_loss"): 1.5,
        (1, "val_top1"): 0.5,
    }


def test_writing_again_repeats_nothing(tmp_path):
    write_history(tmp_path, ROWS[:1])
    write_history(tmp_path, ROWS)
    assert len((tmp_path / HISTORY_FILE).read_text().splitlines()) == 2
