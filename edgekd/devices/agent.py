"""What runs on a board while it measures: keeps files by hash, makes environments, starts runners.

Standard library only. Nothing has to be there before: the host sends this file over the connection
and a one-line bootstrap runs it (:mod:`edgekd.devices.session`). It reads requests on standard
input, a JSON line each, some followed by bytes, and answers in JSON lines that begin with a word
only this session knows, so that whatever a login prints is told from it.

It ends itself, and with it the runner, when its standard input closes or stays silent: the host is
gone. All it writes is in one folder, and nothing of it needs root.
"""

import base64
import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from edgekd.devices.probe import probe
from edgekd.devices.unpack import unpack_wheel

_SILENCE_SECONDS: Final = 60.0  # the host says something every ten
_BEAT_SECONDS: Final = 5.0
_BLOCK: Final = 1 << 20
_STDERR_TAIL: Final = 2000
_SITE_FILE: Final = "site.json"

Request = Mapping[str, Any]


class RefusalError(Exception):
    """A request that cannot be met; ``kind`` tells the host which advice fits."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Agent:
    """One session.

    Args:
        word: Begins every line of this session.
        requests: What the host sends.
        answers: Where lines go.
    """

    def __init__(self, word: str, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._word = word.encode()
        self._requests = requests
        self._answers = answers
        self._writing = threading.Lock()
        self._heard = time.monotonic()
        self._folder = Path()
        self._lock: IO[str] | None = None
        self._runner: subprocess.Popen[bytes] | None = None
        self._operations: Mapping[str, Callable[[Request], Mapping[str, Any]]] = {
            "facts": self._facts,
            "lock": self._take_lock,
            "have": self._have,
            "put": self._put,
            "get": self._get,
            "sites": self._sites,
            "make_site": self._make_site,
            "run": self._run,
            "clean": self._clean,
            "ping": lambda request: {},
        }

    def serve(self) -> None:
        """Answer requests until the host is gone."""
        threading.Thread(target=self._watch_host, daemon=True).start()
        status = 0
        try:
            while line := self._requests.readline():
                self._heard = time.monotonic()
                self._answer(json.loads(line))
        except EOFError:
            pass
        except BaseException:
            traceback.print_exc()
            status = 1
        finally:
            self._end(status)

    def _answer(self, request: Request) -> None:
        if request["op"] == "kill":  # has no answer: the runner's end is told anyway
            self._kill_runner()
            return
        try:
            self._say("done", id=request["id"], **self._operations[request["op"]](request))
        except RefusalError as refusal:
            self._say("refused", id=request["id"], kind=refusal.kind, message=str(refusal))
        except OSError as error:
            self._say("refused", id=request["id"], kind=_kind_of(error), message=str(error))

    def _say(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}).encode()
        with self._writing:
            # The newline before: a login's greeting may not end its last line.
            self._answers.write(b"\n" + self._word + b" " + line + b"\n")
            self._answers.flush()

    # -- what the board is

    def _facts(self, request: Request) -> Mapping[str, Any]:
        self._folder = Path(request["folder"] or _default_folder()).expanduser()
        return {
            "device": probe(),
            "bits": struct.calcsize("P") * 8,
            "python": list(sys.version_info[:3]),
            "implementation": platform.python_implementation(),
            "libc": list(_libc()),
            "folder": str(self._folder),
            "writable": _why_not_writable(self._folder),
            "free_bytes": shutil.disk_usage(_existing(self._folder)).free,
        }

    # -- one host at a time

    def _take_lock(self, request: Request) -> Mapping[str, Any]:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = (self._folder / "lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read(200).strip() or "another host"
            lock.close()
            raise RefusalError("locked", holder) from None
        lock.truncate(0)
        lock.write(request["who"])
        lock.flush()
        self._lock = lock  # held until this process ends, however it ends
        for stale in self._folder.glob("*.part"):
            _remove(stale)
        shutil.rmtree(self._folder / "job", ignore_errors=True)
        (self._folder / "job").mkdir()
        (self._folder / "objects").mkdir(exist_ok=True)
        return {}

    def _clean(self, request: Request) -> Mapping[str, Any]:
        for entry in self._folder.iterdir():
            if entry.name != "lock":
                _remove(entry)
        return {}

    # -- files by hash

    def _have(self, request: Request) -> Mapping[str, Any]:
        """Which objects are here and whole; a broken one is removed."""
        return {"names": [name for name in request["names"] if self._is_whole(name)]}

    def _is_whole(self, name: str) -> bool:
        path = self._object(name)
        if not path.is_file():
            return False
        if _sha256(path) == name.partition(".")[0]:
            return True
        path.unlink()
        return False

    def _put(self, request: Request) -> Mapping[str, Any]:
        """Keep the bytes that follow, if they have the hash they are named by."""
        part = self._folder / f"{os.getpid()}.part"
        left = iter(self._payload(request["size"]))
        try:
            path, digest = self._object(request["name"]), hashlib.sha256()
            with part.open("wb") as file:
                for block in left:
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != request["name"].partition(".")[0]:
                raise RefusalError("hash", f"{request['name']} arrived as {digest.hexdigest()}")
            part.replace(path)
        finally:
            for _ in left:  # what was announced is read to its end all the same
                pass
            part.unlink(missing_ok=True)
        return {}

    def _payload(self, size: int) -> Iterator[bytes]:
        while size:
            block = self._requests.read(min(size, _BLOCK))
            if not block:
                raise EOFError("the host is gone")
            self._heard = time.monotonic()
            size -= len(block)
            yield block

    def _get(self, request: Request) -> Mapping[str, Any]:
        """A file that a job wrote, in several lines."""
        path = self._job_file(request["name"])
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                self._say("bytes", id=request["id"], base64=base64.b64encode(block).decode())
        return {"sha256": _sha256(path)}

    def _object(self, name: str) -> Path:
        digest, _, suffix = name.partition(".")
        if len(digest) != 64 or not digest.isalnum() or not (suffix or "x").isalnum():
            raise RefusalError("name", f"{name!r} is not the name of an object")
        return self._folder / "objects" / name

    def _job_file(self, name: str) -> Path:
        if not name.replace(".", "").isalnum():
            raise RefusalError("name", f"{name!r} is not the name of a job's file")
        return self._folder / "job" / name

    # -- environments

    def _sites(self, request: Request) -> Mapping[str, Any]:
        """Every complete environment: its name and what it was made from."""
        found = {}
        for path in self._folder.glob(f"sites/*/{_SITE_FILE}"):
            try:
                found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):  # cut short by a power failure: made again
                _remove(path.parent)
        return {"sites": found}

    def _make_site(self, request: Request) -> Mapping[str, Any]:
        """Unpack wheels into a folder of their own, import what they are for, and keep it."""
        part = self._folder / f"site-{os.getpid()}.part"
        site = self._folder / "sites" / request["name"]
        if not request["name"].isalnum():
            raise RefusalError("name", f"{request['name']!r} is not the name of an environment")
        with _beating(self._say):
            try:
                for wheel in request["wheels"]:
                    path = self._object(wheel["object"])
                    if not self._is_whole(wheel["object"]):
                        raise RefusalError("hash", f"{wheel['file']} is not what was sent")
                    unpack_wheel(path, part)
                _try_imports(part, self._object(request["program"]), request["imports"])
                content = {key: request[key] for key in ("wheels", "python", "imports")}
                (part / _SITE_FILE).write_text(json.dumps(content), encoding="utf-8")
                site.parent.mkdir(exist_ok=True)
                _remove(site)
                part.rename(site)
            finally:
                _remove(part)
                for wheel in request["wheels"]:
                    self._object(wheel["object"]).unlink(missing_ok=True)
        return {}

    # -- runners

    def _run(self, request: Request) -> Mapping[str, Any]:
        """Start a runner; its lines and its end are told as events of their own."""
        job = self._job_file("job.json")
        for old in job.parent.iterdir():
            old.unlink()
        job.write_text(request["job"], encoding="utf-8")
        program = [
            # -I -S: nothing of the system's packages, of the environment or of the user
            sys.executable, "-I", "-S", "-B", str(self._object(request["program"])),
            str(self._folder / "sites" / request["site"]), str(job),
        ]  # fmt: skip
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        stderr = (job.parent / "stderr").open("w+b")
        self._runner = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**kept, **request["environment"]},
            start_new_session=True,
        )
        arguments = (self._runner, stderr)
        threading.Thread(target=self._follow, args=arguments, daemon=True).start()
        return {"pid": self._runner.pid}

    def _follow(self, process: "subprocess.Popen[bytes]", stderr: IO[bytes]) -> None:
        if process.stdout is not None:
            for line in process.stdout:
                self._say("line", line=line.decode(errors="replace"))
        status = process.wait()
        with stderr:
            size = stderr.seek(0, os.SEEK_END)
            stderr.seek(max(0, size - _STDERR_TAIL))
            self._say("ended", status=status, stderr=stderr.read().decode(errors="replace"))

    def _kill_runner(self) -> None:
        process = self._runner
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    # -- the end

    def _watch_host(self) -> None:
        while time.monotonic() - self._heard < _SILENCE_SECONDS:
            time.sleep(1)
        self._end(0)

    def _end(self, status: int) -> None:
        self._kill_runner()
        if self._lock is not None:
            shutil.rmtree(self._folder / "job", ignore_errors=True)
            for part in self._folder.glob("*.part"):
                _remove(part)
        os._exit(status)


class _beating:  # noqa: N801 - used as a statement
    """Says every few seconds that a long request is being worked on."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self._over = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._beat, daemon=True).start()

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            self._say("beat")


def main(word: str) -> None:
    """Serve the host on standard input and output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else gets between our lines
    Agent(word, sys.stdin.buffer, answers).serve()


def _try_imports(site: Path, program: Path, names: list[str]) -> None:
    """Import what an environment is for, in a process of its own: it may crash."""
    paths = [str(program), str(site)]
    lines = f"import sys; sys.path[:0] = {paths!r}; import {', '.join(names)}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", lines],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        how = f"ended by signal {-done.returncode}" if done.returncode < 0 else said[-1]
        raise RefusalError("imports", f"{', '.join(names)} cannot be imported there ({how[:300]})")


def _default_folder() -> str:
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "edgekd")  # noqa: PTH118


def _libc() -> tuple[str, str]:
    """``("glibc", "2.36")``; empty where it is another one."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):  # musl has no such name
        return "", ""
    return name, version


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _why_not_writable(folder: Path) -> str | None:
    """Make the folder and write into it; the system's words where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe_file = folder / f"{os.getpid()}.part"
        probe_file.write_bytes(b"x")
        probe_file.unlink(missing_ok=True)  # another session may have tidied up
    except OSError as error:
        return None if error.errno == errno.ENOSPC else error.strerror or str(error)
    return None


def _kind_of(error: OSError) -> str:
    full = (errno.ENOSPC, errno.EDQUOT)
    return "full" if error.errno in full else "system"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
