from edgekd.report.names import MAX_NAME, short_names

NET = "__main__.Named/edgekd.export.prepare.Deployed_deployed/edgekd.students.resnet.ResNet_network"
CONV = "torch.nn.modules.conv.Conv2d"


def stage(number, layer):
    return f"{NET}/torch.nn.modules.container.Sequential_{number}/edgekd.BasicBlock_0/{layer}"


def test_a_name_that_fits_stays_as_it_is():
    names = ["/layer1/layer1.0/conv1/Conv", "logits;", "x" * MAX_NAME]
    assert short_names(names) == {name: name for name in names}


def test_a_long_name_is_told_by_the_end_that_it_has_alone():
    one, two = stage(1, f"{CONV}_conv2;2;"), stage(2, f"{CONV}_conv2;2;")
    pool = f"{NET}/torch.nn.modules.pooling.AdaptiveAvgPool2d_pool;1;"
    assert short_names([one, two, pool, "logits;"]) == {
        one: "…/Sequential_1/BasicBlock_0/Conv2d_conv2",
        two: "…/Sequential_2/BasicBlock_0/Conv2d_conv2",
        pool: "…/AdaptiveAvgPool2d_pool",
        "logits;": "logits;",
    }


def test_of_several_layers_in_one_the_first_that_differs_is_named():
    relu = stage(1, "torch.nn.modules.activation.ReLU_relu")
    conv = f"{relu};;{stage(1, f'{CONV}_conv1')};1;"
    add = f"{relu};;{relu};;{stage(1, '').removesuffix('/')};;"
    other = f"{stage(2, 'ReLU_relu')};;{stage(2, f'{CONV}_conv1')};1;"
    assert short_names([conv, add, other]) == {
        conv: "…/Sequential_1/BasicBlock_0/Conv2d_conv1",
        add: "…/BasicBlock_0",
        other: "…/Sequential_2/BasicBlock_0/ReLU_relu",
    }


def test_names_without_a_path_that_end_alike_are_numbered():
    names = [start * 40 + "end" * 30 for start in "abc"]
    first, second, third = short_names(names).values()
    assert first == "…" + ("end" * 30)[-(MAX_NAME - 1) :]
    assert (second[-6:], third[-6:]) == ("nd (2)", "nd (3)")
    assert max(map(len, (first, second, third))) == MAX_NAME


def test_no_form_is_that_of_another_name():
    long = stage(1, f"{CONV}_conv2")
    names = [long, "…/Conv2d_conv2", f"{long};7;"]  # one is called as another would be
    found = short_names(names)
    assert found["…/Conv2d_conv2"] == "…/Conv2d_conv2"
    assert len(set(found.values())) == len(names)
    assert all(len(form) <= MAX_NAME for form in found.values())


def test_a_name_of_nothing_but_separators_has_a_form():
    found = short_names(["/" * 100, ";" * 100, "/" * 101])
    assert len(set(found.values())) == 3
    assert all(0 < len(form) <= MAX_NAME for form in found.values())
