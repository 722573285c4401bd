"""The flags of every command that opens a data set."""

from typing import Final

from edgekd.cli.options import Flag

DATA_FLAGS: Final = (
    Flag(
        "data", ("--data",), "Folder, zip, CSV manifest, .npz, builtin:digits, cifar10, cifar100."
    ),
    Flag("split", ("--split",), "Fractions VAL,TEST for data without a split."),
    Flag("val_fraction", ("--val-fraction",), "Share of train for data with a test but no val."),
    Flag("train_folder", ("--train-folder",), "Folder that is train, if not called so."),
    Flag("test_folder", ("--test-folder",), "Folder that is test, if not called so."),
    Flag("group", ("--group",), "Column or array that must not straddle splits."),
    Flag("test_groups", ("--test-groups",), "Groups to test on, with commas; needs --group."),
    Flag("val_groups", ("--val-groups",), "Groups to validate on; drawn if left out."),
    Flag("modalities", ("--modalities",), "Modalities of an .npz to use; all if left out."),
    Flag("max_bad_files", ("--max-bad-files",), "Unreadable files to skip before it is an error."),
    Flag("download", ("--download",), "Fetch a named data set that is not on this machine."),
)
