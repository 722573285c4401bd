"""edgekd: distil a small model, export it with int8, measure it on the edge device.

The stages are plain functions, each in the package of its name, that meet in records on disk:

* ``edgekd.distill.run.distill(recipe, output)`` trains a student (or a teacher);
* ``edgekd.export.run.export(bundle, ...)`` writes verified ONNX and TFLite files;
* ``edgekd.bench.run.bench(paths, ...)`` measures them;
* ``edgekd.report.run.report(runs, ...)`` writes the tables.

Importing ``edgekd`` imports nothing else: a device measures without torch. It does switch off the
telemetry of ONNX Runtime, in this process and in those it starts.
"""

import os

# ONNX Runtime 1.29 and later keeps a device id and sends events, unless this is set before it is
# imported. Every way to it here, on a board too, imports this package first.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

__all__ = ["__version__"]
