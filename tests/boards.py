"""Boards that are this machine: behind an ``ssh`` of our own making, or behind a real server."""

import getpass
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import pytest

from edgekd.config.devices import DeviceEntry
from edgekd.console import SilentConsole
from edgekd.devices.address import Address
from edgekd.devices.job import Job

# An ssh that runs the remote command here, after whatever the test puts before it.
FAKE_SSH = """#!/bin/sh
for command; do :; done
printf '%s\\n' "$@" > {folder}/arguments
{before}
exec sh -c "$command"
"""

# A numpy that makes way for the one installed here: what it takes instead of a real wheel.
SHIM = """
import os, sys
sys.path.remove(os.path.dirname(os.path.dirname(__file__)))
sys.path.append({site!r})
del sys.modules["numpy"]
import numpy
"""


@pytest.fixture
def devices_home(tmp_path, monkeypatch):
    """A user without devices and with an empty cache, in a working folder of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def entry(devices_home):
    """A board whose Python is this one and whose folder is of this test alone."""
    return DeviceEntry(
        address=f"{getpass.getuser()}@127.0.0.1",
        python=sys.executable,
        folder=str(devices_home / "board"),
    )


@pytest.fixture
def fake_ssh(devices_home, monkeypatch, entry):
    """``fake_ssh(before="echo hello")`` puts an ssh first in PATH and returns a board's address."""

    def install(*, before="", **changes):
        folder = devices_home / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "ssh").write_text(FAKE_SSH.format(before=before, folder=folder))
        (folder / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return Address("board", entry.model_copy(update=changes))

    return install


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Wheels of numpy and both runtimes that lead to the ones installed here."""
    folder = tmp_path_factory.mktemp("wheels")
    site = sysconfig.get_paths()["platlib"]
    write_wheel(folder, "numpy", {"numpy/__init__.py": SHIM.format(site=site)})
    for package in ("onnxruntime", "ai_edge_litert"):
        write_wheel(folder, package, {f"{package}-shim/nothing": ""})
    return folder


def write_wheel(folder, package, files, *, version="99.0"):
    """A wheel with the least that pip asks of one."""
    path = folder / f"{package}-{version}-py3-none-any.whl"
    info = f"{package}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def quick_job():
    def make(model, **changes):
        options = {"num_threads": 1, "num_warmup": 1, "num_calls": 5, "min_seconds": 0.0}
        return Job(model=str(model), **{**options, **changes})

    return make


class Sshd:
    """A real server on loopback with keys of its own."""

    def __init__(self, folder: Path, port: int):
        self.folder, self.port = folder, port

    def entry(self, **changes):
        fields = {
            "address": f"{getpass.getuser()}@127.0.0.1",
            "port": self.port,
            "ssh_config": str(self.folder / "ssh_config"),
            "identity": str(self.folder / "key"),
            "python": sys.executable,
        }
        return DeviceEntry(**{**fields, **changes})

    def sessions(self):
        """Process ids of the server's children, one per connection."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in children.read_text().split()]


def require_login(server):
    """Skip where plain ssh cannot log in either, as with a locked account."""
    command = ["ssh", "-F", str(server.folder / "ssh_config"), "-i", str(server.folder / "key")]
    command += ["-p", str(server.port), "-o", "BatchMode=yes", server.entry().address, "true"]
    if subprocess.run(command, capture_output=True, timeout=60).returncode:
        last = (server.folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
        pytest.skip(f"the OpenSSH server lets this account not in ({''.join(last)})")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    """Skipped where there is no OpenSSH server."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh") is None:
        pytest.skip("no OpenSSH server and client here (apt install openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where a root's server wants to hide
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "key", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    key = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    (folder / "ssh_config").write_text(
        f"UserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile /dev/null\n"
    )
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/key.pub\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    server = Sshd(folder, port)
    with (folder / "log").open("wb") as log:
        command = [program, "-D", "-e", "-f", str(folder / "sshd_config")]
        server.process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            require_login(server)
            yield server
        finally:
            server.process.terminate()
            server.process.wait()


@pytest.fixture
def console():
    return SilentConsole()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
