"""What runs on a board while it measures: answers the host, starts runners, ends with the host.

Standard library only. Nothing has to be there before: the host sends this file over the connection
and a one-line bootstrap runs it (:mod:`edgekd.devices.session`). It reads requests on standard
input, a JSON line each, some followed by bytes, and answers in JSON lines that begin with a word
only this session knows, so that whatever a login prints is told from it.

It ends itself, and with it the runner, when its standard input closes or stays silent: the host is
gone.
"""

import base64
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from edgekd.devices.facts import default_folder, facts
from edgekd.devices.shelf import LOCK_FILE, RefusalError, Shelf, refusal_of, sha256_of

_SILENCE_SECONDS: Final = 60.0  # the host says something every ten
_BEAT_SECONDS: Final = 5.0
_BLOCK: Final = 1 << 20
_STDERR_TAIL: Final = 2000

Request = Mapping[str, Any]


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
        self._shelf = Shelf(default_folder())
        self._lock: IO[str] | None = None
        self._runner: subprocess.Popen[bytes] | None = None
        self._answered = threading.Event()  # a runner's words come after the answer that names it
        self._operations: Mapping[str, Callable[[Request], Mapping[str, Any]]] = {
            "facts": self._facts,
            "lock": self._take_lock,
            "have": self._have,
            "put": self._put,
            "drop": self._drop,
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
            self._answered.set()
        except (RefusalError, OSError) as error:
            refusal = refusal_of(error) if isinstance(error, OSError) else error
            self._say("refused", id=request["id"], kind=refusal.kind, message=str(refusal))

    def _say(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}).encode()
        with self._writing:
            # The newline before: a login's greeting may not end its last line.
            self._answers.write(b"\n" + self._word + b" " + line + b"\n")
            self._answers.flush()

    def _facts(self, request: Request) -> Mapping[str, Any]:
        wanted = request["folder"]
        folder = default_folder() if wanted is None else Path(wanted).expanduser().absolute()
        self._shelf = Shelf(folder)
        return facts(folder)

    def _take_lock(self, request: Request) -> Mapping[str, Any]:
        """Let no other host measure here; held until this process ends, however it ends."""
        lock = (self._shelf.folder / LOCK_FILE).open("a+", encoding="utf-8")
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
        self._lock = lock
        self._shelf.tidy(begin=True)
        return {}

    def _clean(self, request: Request) -> Mapping[str, Any]:
        self._shelf.empty()
        return {}

    def _have(self, request: Request) -> Mapping[str, Any]:
        return {"names": [name for name in request["names"] if self._shelf.is_whole(name)]}

    def _put(self, request: Request) -> Mapping[str, Any]:
        payload = self._payload(request["size"])
        try:
            self._shelf.put(request["name"], payload, passing=request.get("passing", False))
        finally:
            for _ in payload:  # what was announced is read to its end all the same
                pass
        return {}

    def _drop(self, request: Request) -> Mapping[str, Any]:
        for name in request["names"]:
            self._shelf.passing(name).unlink(missing_ok=True)
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
        path = self._shelf.job_file(request["name"])
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                self._say("bytes", id=request["id"], base64=base64.b64encode(block).decode())
        return {"sha256": sha256_of(path)}

    def _sites(self, request: Request) -> Mapping[str, Any]:
        return {"sites": self._shelf.sites()}

    def _make_site(self, request: Request) -> Mapping[str, Any]:
        keys = ("name", "wheels", "python", "imports", "program")
        with _beating(self._say):
            self._shelf.make_site(**{key: request[key] for key in keys})
        return {}

    def _run(self, request: Request) -> Mapping[str, Any]:
        """Start a runner; its lines and its end are told as events of their own."""
        job = self._shelf.job_file("job.json")
        for old in job.parent.iterdir():
            old.unlink()
        job.write_text(request["job"], encoding="utf-8")
        program = [
            # -I -S: nothing of the system's packages, of the environment or of the user
            sys.executable, "-I", "-S", "-B", str(self._shelf.object(request["program"])),
            str(self._shelf.site(request["site"])), str(job),
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
        self._answered.clear()
        arguments = (self._runner, stderr, request["id"])
        threading.Thread(target=self._follow, args=arguments, daemon=True).start()
        return {"run": request["id"]}

    def _follow(self, process: "subprocess.Popen[bytes]", stderr: IO[bytes], run: int) -> None:
        self._answered.wait()
        if process.stdout is not None:
            for line in process.stdout:
                self._say("line", run=run, line=line.decode(errors="replace"))
        status = process.wait()
        with stderr:
            size = stderr.seek(0, os.SEEK_END)
            stderr.seek(max(0, size - _STDERR_TAIL))
            last = stderr.read().decode(errors="replace")
        self._say("ended", run=run, status=status, stderr=last)

    def _kill_runner(self) -> None:
        process = self._runner
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def _watch_host(self) -> None:
        while time.monotonic() - self._heard < _SILENCE_SECONDS:
            time.sleep(1)
        self._end(0)

    def _end(self, status: int) -> None:
        self._kill_runner()
        if self._lock is not None:
            self._shelf.tidy(begin=False)
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
