"""A small ``.npz`` of two sensors of different rates, which together tell the class."""

from pathlib import Path

import numpy as np

NUM_CLASSES = 3


def write_sensors(path: Path, *, subjects: int = 6, windows: int = 30, **more) -> Path:
    """Windows whose frequency in ``acc`` and level in ``gyro`` follow the class."""
    rng = np.random.default_rng(0)
    count = subjects * windows
    labels = np.arange(count) % NUM_CLASSES
    subject = np.repeat(np.arange(1, subjects + 1), windows)
    time = np.arange(40)
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    wave = np.sin(2 * np.pi * (labels[:, None] + 1) * time / 40 + phase)
    acc = np.stack([wave, -wave, np.ones_like(wave)], axis=1) + rng.normal(0, 0.1, (count, 3, 40))
    gyro = labels[:, None, None] + rng.normal(0, 0.5, (count, 2, 16))
    arrays = {"x_acc": acc.astype(np.float16), "x_gyro": gyro.astype(np.float32)}
    np.savez(path, y=labels, subject=subject, **(arrays | more))
    return path
