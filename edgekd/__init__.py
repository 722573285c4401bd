"""edgekd: distil a small model, export it with int8, measure it on the edge device.

The stages are plain functions, each in the package of its name, that meet in records on disk:

* ``edgekd.distill.run.distill(recipe, output)`` trains a student (or a teacher);
* ``edgekd.export.run.export(bundle, ...)`` writes verified ONNX and TFLite files;
* ``edgekd.bench.run.bench(paths, ...)`` measures them;
* ``edgekd.report.run.report(runs, ...)`` writes the tables.

Importing ``edgekd`` imports nothing else: a device measures without torch.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
