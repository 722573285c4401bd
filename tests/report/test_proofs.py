from edgekd.records import Recovery
from edgekd.report.collect import collect
from edgekd.report.proofs import operator_section, parity_section
from edgekd.report.units import DASH


def _texts(section):
    return [[cell.text for cell in line.cells] for line in section.table.lines]


def test_parity_of_each_file_with_its_tolerance(make, tmp_path):
    networks = collect([make.write_runs(tmp_path)]).networks
    table = _texts(parity_section(networks))
    assert table[1] == [
        "exported/student.onnx",
        "fp32",
        "269",
        "1, 3",
        "2.5e-06",
        "1.0e-03",
        "120.0",
        "100.00",
        "0.00",
    ]
    assert table[2][4:] == ["2.1e-01", DASH, "31.4", "99.00", "0.40"]


def test_equal_outputs_have_infinite_sqnr(make, tmp_path):
    record = make.exported("m.onnx", sha256="1" * 64)
    parity = record.parity.model_copy(update={"sqnr_db": None, "max_abs_err": 0.0})
    make.write(tmp_path, "m.onnx.json", record.model_copy(update={"parity": parity}))
    (cells,) = _texts(parity_section(collect([tmp_path]).networks))
    assert (cells[4], cells[6]) == ("0", "∞")


def test_operators_most_frequent_first(make, tmp_path):
    networks = collect([make.write_runs(tmp_path)]).networks
    table = _texts(operator_section(networks))
    assert table[1][1:] == ["float32 NCHW", "0.0", DASH, "Conv 9, Relu 7", "16", "1", "4"]
    assert table[2][1:] == ["float32 NCHW", "100.0", "Conv 9", "Softmax 1", "10", "1", "4"]


def test_a_record_of_an_older_version_does_not_say_how_large_tensors_are(make, tmp_path):
    record = make.exported("m.onnx", sha256="1" * 64)
    audit = record.audit.model_copy(update={"largest_rank": None})
    make.write(tmp_path, "m.onnx.json", record.model_copy(update={"audit": audit}))
    (cells,) = _texts(operator_section(collect([tmp_path]).networks))
    assert cells[-1] == DASH


def test_what_export_noted_stands_under_the_operators(make, tmp_path):
    record = make.exported("m.onnx", sha256="1" * 64, notes=("kept unsimplified",))
    make.write(tmp_path, "m.onnx.json", record)
    section = operator_section(collect([tmp_path]).networks)
    assert section.table.notes == ("m.onnx: kept unsimplified",)


def test_without_files_there_is_nothing_to_prove(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    networks = collect([tmp_path]).networks
    assert parity_section(networks) is None
    assert operator_section(networks) is None


def test_a_recovered_file_says_so_in_its_row_and_against_what_it_was_compared(make, tmp_path):
    recovery = Recovery(
        epochs=2,
        final_loss=0.25,
        reason="m.int8.onnx: drop 1.3 points over the budget of 0.5",
        teacher="student",
        weights_sha256="2" * 64,
    )
    record = make.exported("m.int8.onnx", sha256="1" * 64, precision="int8-static")
    make.write(tmp_path, "m.int8.onnx.json", record.model_copy(update={"recovery": recovery}))
    networks = collect([tmp_path]).networks
    (file,) = networks[0].files
    assert file.kind == "int8-static, recovered"
    (_, note) = parity_section(networks).table.notes
    assert note.startswith(
        "m.int8.onnx: recovered by 2 epochs of training with 8-bit rounding (final loss 0.25), "
        "because of m.int8.onnx: drop 1.3 points over the budget of 0.5."
    )
    assert "agreement and drop against the student" in note
