"""Opening a torch.export archive without letting it run anything.

``torch.export.load`` trusts its file: weights, constants and sample inputs may be pickles, size
expressions go through ``sympy.sympify`` (which evaluates Python), node names, stack traces and
guards are pasted into generated source, operators are looked up as attributes of ``torch``, and
compiled libraries are loaded. So the archive is read here with :mod:`zipfile` and :mod:`json`
alone, everything a network does not need is dropped, what remains must match an allow-list, and
torch is given a new archive with nothing but that (its zip reader and ours might otherwise see
two different files in one).
"""

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from torch.export.pt2_archive import PT2ArchiveWriter

from edgekd.errors import BundleError, ModelError

_MODEL: Final = "models/model.json"
_SAMPLES: Final = "data/sample_inputs/model.pt"
_PAYLOADS: Final = {
    "data/weights/model_weights_config.json": re.compile(r"weight_\d+"),
    "data/constants/model_constants_config.json": re.compile(r"tensor_\d+"),
}
_MARKERS: Final = ("archive_format", "archive_version")

_OPERATOR: Final = re.compile(
    r"torch\.ops\.aten\.(?!from_file\b)\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge)"
    r"|math\.(trunc|ceil|floor)"
)
_PLAIN: Final = re.compile(r"[\w.\-]*", re.ASCII)
_EINSUM: Final = re.compile(r"[A-Za-z,.> \-]*")
_EXPRESSION_CALLS: Final = {
    *("Symbol", "Integer", "Float", "Add", "Mul", "Pow", "Max", "Min", "Abs", "Mod", "PythonMod"),
    *("FloorDiv", "CleanDiv", "CeilDiv", "IntTrueDiv", "FloatTrueDiv", "PowByNatural", "Where"),
    *("ModularIndexing", "FloorToInt", "CeilToInt", "TruncToInt", "ToFloat", "Identity"),
    *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality", "Piecewise"),
    *("StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "And", "Or", "Not"),
}
_EXPRESSION_NODES: Final = (
    *(ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.Tuple),
    *(ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop),
)
_TREE_TYPES: Final = {None, "builtins.tuple", "builtins.list", "builtins.dict"}


def clean_archive(path: Path) -> tuple[io.BytesIO, dict[str, Any]]:
    """A new archive with the network in ``path`` and nothing that could run, and its program.

    Raises:
        BundleError: If the file is not an archive of ``torch.export.save``, or damaged.
        ModelError: If it holds anything that a network of tensors does not need.
    """
    members = _read_members(path)
    program = _clean_program(_parse(members, _MODEL, path), path)
    buffer = io.BytesIO()
    with PT2ArchiveWriter(buffer) as writer:
        for name in _MARKERS:
            writer.write_bytes(name, _member(members, name, path))
        writer.write_bytes(_MODEL, json.dumps(program).encode())
        writer.write_bytes(_SAMPLES, b"")
        for name, payload in _payloads(members, path):
            writer.write_bytes(name, payload)
    buffer.seek(0)
    return buffer, program


def _read_members(path: Path) -> dict[str, bytes]:
    """Every member by its name inside the archive's one top folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename.partition("/")[2] for info in archive.infolist()]
            if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
                raise ModelError(
                    f"{path}: unpacks to more than it holds; torch.export.save does not compress"
                )
            if len(set(names)) != len(names):
                raise ModelError(f"{path}: two members of one name; export the program again")
            return {
                info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()
            }
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"{path}: not an archive of torch.export.save ({error}); export it again"
        ) from error


def _payloads(members: Mapping[str, bytes], path: Path) -> Iterator[tuple[str, bytes]]:
    """The raw tensors and the two tables that say what they are."""
    for table, plain_name in _PAYLOADS.items():
        folder = table.rpartition("/")[0]
        config = _parse(members, table, path)
        entries = config.get("config")
        if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
            raise BundleError(f"{path}: {table} is damaged; export the program again")
        names = {str(entry.get("path_name")) for entry in entries.values()}
        for entry in entries.values():
            if entry.get("use_pickle") is not False:
                raise _refuse(path, "a pickled tensor")
        for name in names:
            if not plain_name.fullmatch(name):
                raise _refuse(path, f"the object {name!r}")
        yield table, json.dumps(config).encode()
        for name in sorted(names):
            yield f"{folder}/{name}", _member(members, f"{folder}/{name}", path)


def _clean_program(program: dict[str, Any], path: Path) -> dict[str, Any]:
    """The program without guards, traces and submodule structure, checked string by string."""
    try:
        graph_module = program["graph_module"]
        calls = [call for call in graph_module["module_call_graph"] if call["fqn"] == ""]
        cleaned: dict[str, Any] = {
            **program,
            "guards_code": [],
            "torch_version": program["torch_version"].partition("+")[0],
            "graph_module": {
                **graph_module,
                "metadata": {},
                "module_call_graph": calls,
                "treespec_namedtuple_fields": {},
            },
        }
        cleaned = _checked(cleaned, "", path)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: its {_MODEL} is damaged; export the program again") from error
    return cleaned


def _checked(value: Any, key: str, path: Path) -> Any:
    if isinstance(value, dict):
        if "as_custom_obj" in value:
            raise _refuse(path, "a custom object")
        if any(not _PLAIN.fullmatch(name) for name in value):
            raise _refuse(path, "a name that is none")
        if "target" in value and "inputs" in value and not _OPERATOR.fullmatch(value["target"]):
            raise _refuse(path, f"the operator {value['target'][:60]!r}")
        return {
            name: {} if name == "metadata" else _checked(part, name, path)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_checked(part, key, path) for part in value]
    if isinstance(value, str):
        _check_text(value, key, path)
    return value


def _check_text(text: str, key: str, path: Path) -> None:
    if key in ("in_spec", "out_spec"):
        _check_tree(json.loads(text), path)
        return
    if key == "expr_str":
        allowed = _is_plain_expression(text)
    elif key == "as_operator":
        allowed = _OPERATOR.fullmatch(text) is not None
    else:
        patterns = (_PLAIN, _EINSUM) if key == "as_string" else (_PLAIN,)
        allowed = any(pattern.fullmatch(text) for pattern in patterns)
    if not allowed:
        raise _refuse(path, f"{key} {text[:60]!r}")


def _is_plain_expression(text: str) -> bool:
    """Whether a size expression is arithmetic on symbols: no attributes, no other calls."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return all(isinstance(node, _EXPRESSION_NODES) and _is_plain_node(node) for node in nodes)


def _is_plain_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _EXPRESSION_CALLS
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.fullmatch(r"[A-Za-z]\w*|-?\d+(\.\d+)?", node.value) is not None
    if isinstance(node, ast.Name):
        return node.id in _EXPRESSION_CALLS or re.fullmatch(r"[suz]\w*\d+|oo", node.id) is not None
    return True


def _check_tree(spec: Any, path: Path) -> None:
    """``[version, node]``; nodes are tuples, lists and dictionaries of leaves."""
    nodes = [spec[1]]
    while nodes:
        node = nodes.pop()
        context = json.loads(node["context"] or "null")
        plain = context is None or all(_PLAIN.fullmatch(name) for name in context)
        if node["type"] not in _TREE_TYPES or not plain:
            raise _refuse(path, f"inputs or outputs of type {str(node['type'])[:60]!r}")
        nodes.extend(node["children_spec"])


def _parse(members: Mapping[str, bytes], name: str, path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(_member(members, name, path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: its {name} is not JSON; export the program again") from error
    if not isinstance(parsed, dict):
        raise BundleError(f"{path}: its {name} is not a JSON object; export the program again")
    return parsed


def _member(members: Mapping[str, bytes], name: str, path: Path) -> bytes:
    content = members.get(name)
    if content is None:
        raise BundleError(
            f"{path}: has no {name}; expected a program saved by torch.export.save of torch 2.10 "
            "or later"
        )
    return content


def _refuse(path: Path, what: str) -> ModelError:
    return ModelError(
        f"{path}: holds {what}, which could run code when it is opened; export the plain network"
    )
