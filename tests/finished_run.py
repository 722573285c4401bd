"""The record of a run that never was: what drivers read of a finished one."""

import json

from edgekd.config import TrainRecipe, build_recipe


def finish(training, *, top1=0.5, minutes=1.0, samples=1000, weights="0" * 64, **changes):
    """Put a bundle.json into a training's folder, of its own recipe or of a changed one."""
    assignments = [*training.assignments(), *(f"{k}={v}" for k, v in changes.items())]
    recipe = build_recipe(TrainRecipe, recipe=training.file, assignments=assignments)
    record = {
        "weights_sha256": weights,
        "num_params": 1234,
        "macs": 5678,
        "metrics": [
            {"name": "top1", "value": 0.0, "split": "val", "num_samples": 100},
            {"name": "top1", "value": top1, "split": "test", "num_samples": 200},
        ],
        "provenance": {
            "recipe": recipe.settled(samples).model_dump(mode="json"),
            "data": {"num_samples": {"train": samples}},
            "teacher": {"sha256": "ab" * 32} if recipe.teacher is not None else None,
            "num_threads": 1,
            "machine": "some machine",
            "precision": "fp32",
            "train_seconds": 60 * minutes,
        },
    }
    training.folder.mkdir(parents=True, exist_ok=True)
    (training.folder / "bundle.json").write_text(json.dumps(record))
    return record
