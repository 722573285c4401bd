"""An Arm board for those who have none: Debian arm64 under QEMU, behind SSH on loopback.

What it is good for: a model runs on Arm, gives the right answers and fits the memory. Its times
mean nothing. It needs root and Linux, for it registers an interpreter with the kernel and changes
roots; what runs inside does so as an ordinary user.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgekd.config.devices import DeviceEntry
from edgekd.console import Console
from edgekd.devices.book import LOCAL, find_entry
from edgekd.devices.folders import cache_folder
from edgekd.errors import DeviceError

SUITE: Final = "bookworm"  # Debian 12: glibc 2.36, Python 3.11

_BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")
_QEMU: Final = "qemu-aarch64"
_PROGRAMS: Final = ("debootstrap", "qemu-aarch64-static", "sshd", "ssh-keygen", "unshare", "chroot")
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
_START_SECONDS: Final = 10.0
_SSH_CONFIG: Final = "ssh_config"
_ENTER: Final = """\
#!/bin/sh
# What a login runs: in a mount namespace of its own, in the other root, as an ordinary user.
exec unshare --mount /bin/sh -c 'mount -t proc proc "$0/proc" && exec chroot --userspec=1000:1000 \\
    "$0" /usr/bin/env -i HOME=/home/edgekd PATH=/usr/bin:/bin LANG=C.UTF-8 /bin/sh -c "$1"' \\
    {root} "$SSH_ORIGINAL_COMMAND"
"""
_SSH: Final = """\
UserKnownHostsFile "{folder}/known_hosts"
GlobalKnownHostsFile /dev/null
"""
_SSHD: Final = """\
Port {port}
ListenAddress 127.0.0.1
HostKey "{folder}/host_key"
AuthorizedKeysFile "{folder}/key.pub"
PidFile "{folder}/sshd.pid"
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding no
X11Forwarding no
PermitTTY no
ForceCommand {enter}
"""


def default_folder() -> Path:
    """Where the emulated board is kept: about 400 MB."""
    return cache_folder() / "arm64"


def emulate(folder: Path, console: Console, *, mirror: str | None = None) -> DeviceEntry:
    """Build the board where there is none yet, and see that it answers.

    Args:
        folder: Where it is, or shall be.
        console: Told what is built.
        mirror: A Debian mirror; ``None`` is debootstrap's own choice.

    Returns:
        How to reach it.

    Raises:
        DeviceError: If this is not root on Linux, a program is missing, or a step failed.
    """
    folder = folder.absolute()
    _require_root()
    _require_programs()
    _register_interpreter()
    if not (folder / "complete").exists():
        _build(folder, console, mirror)
    port = _start(folder)
    return DeviceEntry(
        address="root@127.0.0.1",
        port=port,
        ssh_config=str(folder / _SSH_CONFIG),
        identity=str(folder / "key"),
    )


def stop(folder: Path) -> bool:
    """End the board's SSH server; whether one ran.

    Raises:
        DeviceError: If this is not root on Linux.
    """
    _require_root()
    pid = _running(folder.absolute())
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    return True


def require_emulated(name: str, folder: Path) -> None:
    """Make sure that a device is the board in a folder.

    Raises:
        ConfigError: If a devices file is damaged.
        DeviceError: If it is another one, or unknown.
    """
    if name == LOCAL:
        raise DeviceError(f"{LOCAL} is this machine, not an emulated board")
    entry = find_entry(name)
    if entry.ssh_config != str(folder.absolute() / _SSH_CONFIG):
        raise DeviceError(
            f"{name} is {entry.shown}, not the emulated board in {folder}; 'edgekd devices list' "
            "names all devices, and --at another folder"
        )


def _require_root() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise DeviceError(
            "an emulated board needs root on Linux (it registers QEMU with the kernel and changes "
            "roots); run this one command with sudo, or use a real board"
        )


def _require_programs() -> None:
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        raise DeviceError(
            f"not installed: {', '.join(missing)}; on Debian or Ubuntu type 'apt-get install "
            "qemu-user-static binfmt-support debootstrap openssh-server'"
        )


def _register_interpreter() -> None:
    """Let the kernel run arm64 programs through QEMU."""
    if (_BINFMT / _QEMU).exists():
        return
    if not (_BINFMT / "register").exists():
        _run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT)], "mount binfmt_misc")
    _run(["update-binfmts", "--enable", _QEMU], "register QEMU with the kernel")
    if not (_BINFMT / _QEMU).exists():
        raise DeviceError(
            f"the kernel did not take {_QEMU} in {_BINFMT}; in a container, register it on the host"
        )


def _build(folder: Path, console: Console, mirror: str | None) -> None:
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)  # of an attempt that was interrupted
    folder.mkdir(parents=True, exist_ok=True)
    console.info(f"building Debian {SUITE} for arm64 in {folder}: some minutes, about 400 MB")
    first = [
        "debootstrap", "--arch=arm64", "--foreign", "--variant=minbase",
        "--include=python3,libstdc++6", SUITE, str(root), *([mirror] if mirror else []),
    ]  # fmt: skip
    inside = ["chroot", str(root)]
    steps: Sequence[tuple[str, Sequence[str]]] = (
        ("fetch Debian's packages", first),
        ("install them", [*inside, "/debootstrap/debootstrap", "--second-stage"]),
        ("add a user", [*inside, "/usr/sbin/useradd", "--create-home", "--uid=1000", "edgekd"]),
        ("run Python", [*inside, "/usr/bin/python3", "-c", "import hashlib"]),
    )
    with console.track("arm64", len(steps)) as tracker:
        for what, command in steps:
            tracker.describe(what)
            _run(command, what)
            tracker.advance()
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    (folder / "complete").write_text(f"{SUITE}\n", encoding="utf-8")


def _start(folder: Path) -> int:
    """The port of the board's SSH server, started if it does not run."""
    port_file = folder / "port"
    if _running(folder) is not None:
        return int(port_file.read_text(encoding="utf-8"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    for name in ("host_key", "key"):
        if not (folder / name).exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            _run(command, "make keys")
    kind, key, *_ = (folder / "host_key.pub").read_text(encoding="utf-8").split()
    for name, content in {
        "known_hosts": f"[127.0.0.1]:{port} {kind} {key}\n",
        _SSH_CONFIG: _SSH.format(folder=folder),
        "sshd_config": _SSHD.format(port=port, folder=folder, enter=shlex.quote(f"{folder}/enter")),
        "enter": _ENTER.format(root=shlex.quote(f"{folder}/root")),
        "port": str(port),
    }.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "enter").chmod(0o755)
    Path("/run/sshd").mkdir(
        mode=0o755, exist_ok=True
    )  # OpenSSH's own, missing before its first start
    program = shutil.which("sshd", path=_PATH) or "sshd"  # it insists on an absolute path
    log = str(folder / "sshd.log")
    _run([program, "-E", log, "-f", str(folder / "sshd_config")], "start the SSH server")
    give_up = time.monotonic() + _START_SECONDS
    while _running(folder) is None:
        if time.monotonic() > give_up:
            raise DeviceError(f"the SSH server did not start; {log} may say why")
        time.sleep(0.05)
    return port


def _running(folder: Path) -> int | None:
    """The process id of the board's SSH server."""
    try:
        pid = int((folder / "sshd.pid").read_text(encoding="utf-8"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(folder / "sshd_config").encode() in command else None


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": _PATH, "LANG": "C", "DEBIAN_FRONTEND": "noninteractive"},
        check=False,
    )
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        status, last = done.returncode, lines[-1][:300]
        raise DeviceError(f"could not {what}: {command[0]} ended with status {status} ({last})")
