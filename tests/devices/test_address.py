import shlex

import pytest

from edgekd.config.devices import DeviceEntry
from edgekd.devices.address import Address

PLAIN = Address("rpi", DeviceEntry(address="pi@board"))


def test_no_password_is_asked_for_and_no_key_is_taken_on_trust():
    command = PLAIN.command(["true"])
    options = [command[i + 1] for i, word in enumerate(command) if word == "-o"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no"} <= set(options)
    assert any(option.startswith("ServerAliveInterval=") for option in options)
    assert command[-3:] == ["--", "pi@board", "true"]


def test_what_the_user_chose_comes_before_the_address():
    entry = DeviceEntry(address="pi@board", port=2222, ssh_config="/c d", identity="/k")
    command = Address("rpi", entry).command(["true"])
    tail = ["-F", "/c d", "-i", "/k", "-o", "IdentitiesOnly=yes", "-p", "2222"]
    assert command[-11:-3] == tail


@pytest.mark.parametrize("word", ["a b", "';rm -rf ~;'", "$(x)", "`x`", "a\nb", '"', "\\", "*"])
def test_the_remote_shell_gets_each_argument_as_one_word(word):
    assert shlex.split(PLAIN.command(["echo", word])[-1]) == ["echo", word]


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        (
            "@@@\nREMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.",
            "rpi: the host key of board is not the one in known_hosts",
        ),
        ("Host key verification failed.", "log in once by hand with 'ssh pi@board'"),
        ("pi@board: Permission denied (publickey).", "ssh-copy-id pi@board"),
        ("ssh: Could not resolve hostname board: unknown", "no host board is known"),
        ("connect to host board port 22: Connection refused", "no SSH server answers"),
        ("connect to host board port 22: Connection timed out", "board does not answer"),
        ("Timeout, server board not responding.", "(Timeout, server board not responding.)"),
        ("ssh: connect to host board port 22: No route to host", "cannot be reached"),
        ("ssh: connect to host board port 22: Network is unreachable", "this machine's network"),
        ("", "ssh gave no reason"),
    ],
)
def test_each_refusal_of_ssh_has_its_line(stderr, said):
    message = str(PLAIN.explain(stderr))
    assert said in message
    assert "\n" not in message
