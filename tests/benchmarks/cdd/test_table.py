from benchmarks.cdd.table import main_table


def cells(table, name):
    line = next(line for line in table.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_drops_stand_beside_each_other_with_where_each_row_started(plan, finished):
    finished(plan.teacher.folder, 0.90)
    finished(plan.start("narrow 19, taught").folder, 0.84, macs=360, num_params=370)
    for row, values, macs in (
        ("CDD", (0.89, 0.90), 350),
        ("dense, kd", (0.905, 0.915), 1000),
        ("narrow 19, kd", (0.86, 0.88), 360),
    ):
        for seed, value in enumerate(values):
            finished(plan.folder(row, seed), value, macs=macs, num_params=macs)
    table = main_table(plan)
    # by hand: the mean of dense is 91, of CDD 89.5; sample deviation of a, a + d is d / sqrt(2)
    assert cells(table, "teacher") == [
        *("teacher", "random weights", "1", "90.00", "0.00", "1.00", ""),
        *("100.0", "100.0", "1.5"),
    ]
    assert cells(table, "narrow 19, taught")[1:7] == [
        *("random weights", "1", "84.00", "6.00", "7.00", ""),
    ]
    assert cells(table, "CDD") == [
        *("CDD", "teacher", "2", "89.50 ± 0.71", "0.50 ± 0.71", "1.50 ± 0.71", ""),
        *("35.0", "350.0", "1.5"),
    ]
    assert cells(table, "dense, kd")[1:7] == [
        *("teacher", "2", "91.00 ± 0.71", "-1.00 ± 0.71", "0.00 ± 0.71", ""),
    ]
    assert cells(table, "narrow 19, kd")[1:8] == [
        *("narrow 19, taught", "2", "87.00 ± 1.41", "3.00 ± 1.41", "4.00 ± 1.41", "2.50", "36.0"),
    ]


def test_the_caption_says_who_learns_from_features(plan, finished):
    finished(plan.teacher.folder, 0.9)
    caption = main_table(plan).splitlines()[0]
    assert "test split (1,000 samples)" in caption
    assert "1 training threads, a processor, fp32" in caption
    assert plan.experiment.features in caption


def test_what_is_not_finished_has_no_line(plan, finished):
    assert main_table(plan) == ""
    finished(plan.teacher.folder, 0.9)
    finished(plan.folder("CDD", 1), 0.8)
    table = main_table(plan)
    assert [line.split("|")[1].strip() for line in table.splitlines()[4:]] == ["teacher", "CDD"]
    assert cells(table, "CDD")[2:6] == ["1", "80.00", "10.00", ""]
