import re

import edgekd.errors
from edgekd.errors import EdgekdError, MissingExtraError


def test_every_error_has_an_exit_code_of_its_own_and_stands_in_the_tree():
    kinds = EdgekdError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert not {0, 1} & set(codes)  # success, and a bug of edgekd
    drawn = re.findall(r"[├└]── (\w+) +(\d+)", edgekd.errors.__doc__)
    assert {(kind.__name__, str(kind.exit_code)) for kind in kinds} == set(drawn)


def test_a_missing_package_says_what_installs_it():
    error = MissingExtraError("onnxruntime", extra="bench", purpose="run ONNX files")
    assert str(error) == (
        "onnxruntime is not installed and is needed to run ONNX files: pip install 'edgekd[bench]'"
    )
