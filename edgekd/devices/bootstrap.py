"""How the agent comes to a board where nothing of edgekd is: over the connection, as its source."""

import base64
import json
from importlib import resources
from typing import Final

MODULES: Final = ("probe", "facts", "unpack", "shelf", "agent")
"""What the agent is made of, each after what it imports."""

# Old interpreters have to understand this much, to say how old they are. It reads the modules,
# puts them in place and runs the last one's main.
_PROGRAM: Final = """
import sys,json,types
word=sys.argv[1]
if sys.version_info<(3,11):
 print("\\n"+word+" "+json.dumps({"event":"old","version":sys.version.split()[0]}))
 sys.exit(0)
i=sys.stdin.buffer
for n in ("edgekd","edgekd.devices"):
 sys.modules[n]=types.ModuleType(n)
for n,s in json.loads(i.read(int(i.readline()))):
 m=sys.modules[n]=types.ModuleType(n)
 exec(compile(s,n,"exec"),m.__dict__)
m.main(word)
"""


def bootstrap_command(python: str, word: str) -> list[str]:
    """What is run on the board; it waits for :func:`agent_source`.

    Args:
        python: The board's interpreter.
        word: Begins every line of the agent.
    """
    # In base64 there is nothing that any login shell, csh included, could misread.
    encoded = base64.b64encode(_PROGRAM.encode()).decode()
    program = f"import base64;exec(base64.b64decode('{encoded}'))"
    return [python, "-I", "-S", "-B", "-c", program, word]


def agent_source() -> bytes:
    """The agent's modules as the bootstrap reads them: a length, and so many bytes of JSON."""
    modules = [(f"edgekd.devices.{name}", source_of(name)) for name in MODULES]
    content = json.dumps(modules).encode()
    return b"%d\n%s" % (len(content), content)


def source_of(name: str) -> str:
    """The text of a module of this package."""
    return resources.files("edgekd.devices").joinpath(f"{name}.py").read_text(encoding="utf-8")
