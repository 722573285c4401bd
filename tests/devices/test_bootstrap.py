import ast
import subprocess
import sys

from edgekd.devices.bootstrap import MODULES, agent_source, bootstrap_command, source_of


def test_the_command_holds_nothing_that_a_shell_reads():
    *words, program, word = bootstrap_command("python3", "edgekd-1")
    assert words == ["python3", "-I", "-S", "-B", "-c"]
    assert word == "edgekd-1"
    assert not set(program) & set('\n"$`\\!*?<>|&#~{}[]')


def test_the_agent_answers_from_its_source_alone(tmp_path):
    done = subprocess.run(
        bootstrap_command(sys.executable, "edgekd-1"),
        input=agent_source() + b'{"op": "ping", "id": 7}\n',
        capture_output=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.stdout == b'\nedgekd-1 {"event": "done", "id": 7}\n'
    assert done.returncode == 0


def test_the_agent_imports_the_standard_library_and_itself():
    own = {f"edgekd.devices.{name}" for name in MODULES}
    for name in MODULES:
        for node in ast.walk(ast.parse(source_of(name))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("edgekd"):
                assert node.module in own
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in names:
                top = module.partition(".")[0]
                assert top == "edgekd" or top in sys.stdlib_module_names
