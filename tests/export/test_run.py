import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from conftest_export import DIGITS

from edgekd.bundle import read_record, sha256_of
from edgekd.cli.main import main_inner
from edgekd.config import ExportRecipe
from edgekd.data.digits import open_digits  # noqa: F401 - the data these tests export with
from edgekd.errors import UsageError
from edgekd.export.run import export, rows
from edgekd.records import ExportedModel

FILES = ("student.onnx", "student.int8.onnx", "student.tflite", "student.int8.tflite")
