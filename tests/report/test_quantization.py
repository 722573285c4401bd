from edgekd.records import Adjustment, LayerError
from edgekd.report.collect import collect
from edgekd.report.details import detail_sections
from edgekd.report.units import DASH, MINUS


def sections(make, root, **changes):
    make.write(root, "student.onnx.json", make.exported("student.onnx", sha256="1" * 64))
    int8 = make.exported("student.int8.onnx", sha256="2" * 64, **changes)
    make.write(root, "student.int8.onnx.json", int8)
    return {section.title: section for section in detail_sections(collect([root]))}


def texts(section):
    return [[cell.text for cell in line.cells] for line in section.table.lines]


def test_what_was_tried_is_shown_with_what_it_did(make, tmp_path):
    tried = (
        Adjustment(
            name="equalization", places=7, sqnr_db_before=18.04, sqnr_db_after=24.96, applied=True
        ),
        Adjustment(
            name="bias correction", places=52, sqnr_db_before=24.96, sqnr_db_after=-200.0,
            applied=False,
        ),
    )  # fmt: skip
    section = sections(make, tmp_path, adjustments=tried)["Changes for int8"]
    assert texts(section) == [
        ["student.int8.onnx", "equalization", "7", "18.0", "25.0", "kept"],
        ["student.int8.onnx", "bias correction", "52", "25.0", f"{MINUS}200.0", "not kept"],
    ]


def test_the_worst_layers_are_shown(make, tmp_path):
    errors = tuple(
        LayerError(
            layer=f"conv{i}", kind="Conv depthwise", computes="static", sqnr_db=20.0 + i,
            metric_drop=0.0042 if i == 0 else None,
            metric_unknown="the time for it was up" if i == 1 else None,
        )
        for i in range(12)
    )  # fmt: skip
    found = sections(make, tmp_path, layer_errors=errors, unmeasured_layers=30)
    section = found["Worst layers in int8 (30 not measured)"]
    shown = texts(section)
    assert section.table.lines[0].cells[0].detail == "12 of 42 layers measured"
    assert section.table.lines[1].cells[0].detail == ""
    assert len(shown) == 8
    assert shown[0] == ["student.int8.onnx", "conv0", "static", "20.0", "0.42"]
    assert [line[4] for line in shown[1:3]] == [DASH, DASH]
    assert section.table.lines[1].cells[4].detail == "the time for it was up"
    assert section.table.lines[2].cells[4].detail == ""  # a record of an earlier version
    assert section.table.lines[0].cells[1].detail == "Conv depthwise"


def test_a_long_layer_name_is_shortened_and_the_note_says_so(make, tmp_path):
    names = [f"{'package.' * 60}Net_network/package.Stage_{i}/package.Conv_conv;1;" for i in (1, 2)]
    errors = tuple(
        LayerError(layer=name, kind="CONV_2D", computes="static", sqnr_db=20.0) for name in names
    )
    section = sections(make, tmp_path, layer_errors=errors)["Worst layers in int8"]
    assert [line[1] for line in texts(section)] == ["…/Stage_1/Conv_conv", "…/Stage_2/Conv_conv"]
    assert section.table.notes[-1].endswith("the file's record has them whole.")


def test_where_all_layers_were_measured_the_title_says_nothing_of_it(make, tmp_path):
    error = LayerError(layer="conv", kind="Conv", computes="static", sqnr_db=20.0)
    section = sections(make, tmp_path, layer_errors=(error,))["Worst layers in int8"]
    assert section.table.lines[0].cells[0].detail == ""
    assert len(section.table.notes) == 1


def test_without_int8_figures_there_is_no_section(make, tmp_path):
    found = sections(make, tmp_path)
    assert not {"Changes for int8", "Worst layers in int8"} & found.keys()
