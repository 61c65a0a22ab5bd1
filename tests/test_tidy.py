"""Style that can be counted. Each rule lists all that breaks it, as `file:line what`."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("curves", "engine", "chain", "storage", "actors", "gateway", "deploy")
PURE = ("curves", "engine")
RAY_FILES = ("actors/handles.py", "actors/host.py")

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
LINE_LENGTH_MAX = 100
POSITIONAL_MAX = 3

SKIPPED_FOLDERS = {".git", ".venv", "node_modules", "__pycache__", "build", "results"}
CODE = {".py", ".sol", ".mjs", ".js", ".sql", ".lua", ".sh"}
# Their length is not ours to choose.
LOCKS = {"package-lock.json", "run.txt", "dev.txt", "embedded.txt", "e2e.txt"}

IMPURE = {
    "asyncio": "the caller's loop",
    "datetime": "block time as an integer argument",
    "os": "a setting",
    "random": "an argument",
    "ray": "actors/handles.py",
    "secrets": "an argument",
    "socket": "a port handed in",
    "threading": "immutable values",
    "time": "block time as an argument",
}
BANNED_CALLS = {
    "datetime.utcnow": "datetime.now(UTC)",
    "datetime.datetime.utcnow": "datetime.now(UTC)",
    "asyncio.get_event_loop": "asyncio.get_running_loop",
    "os.system": "subprocess.run with a list",
    "eval": "a parser",
    "exec": "a dispatch table",
}
REGISTRIES = re.compile(
    "|".join(
        name.replace(".", r"\.")
        for name in (
            "pypi" + ".org",
            "pythonhosted" + ".org",
            "registry.npmjs" + ".org",
            "registry.yarnpkg" + ".com",
        )
    )
)
LEFTOVER = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|X" + r"XX)\b")
# Called by a library with arguments in its own order: (file, function).
LIBRARY_SIGNATURES = {
    ("deploy/logs.py", "redact"),
    ("deploy/logs.py", "_render_json"),
}


def test_tidy_files_are_short() -> None:
    long = [
        f"{name(file)} {count} lines"
        for file in code()
        if (count := len(lines(file))) > FILE_LINES_MAX
    ]
    none(long)


def test_tidy_lines_are_short() -> None:
    none(
        [
            f"{name(file)}:{number} {len(line)} characters"
            for file in code()
            for number, line in enumerate(lines(file), 1)
            if len(line) > LINE_LENGTH_MAX
        ]
    )


def test_tidy_functions_are_short() -> None:
    none(
        [
            f"{at(file, function)} {function.name} {length} lines"
            for file in python()
            for function in functions(file)
            if (length := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
        ]
    )


def test_tidy_many_parameters_are_keyword_only() -> None:
    none(
        [
            f"{at(file, function)} {function.name} takes {count} by position"
            for file in python(*PACKAGES, "bench")
            for function in functions(file)
            if (count := positional(function)) > POSITIONAL_MAX
            and (name(file), function.name) not in LIBRARY_SIGNATURES
        ]
    )


def test_tidy_public_names_have_docstrings_private_none() -> None:
    none([wrong for file in python(*PACKAGES) for wrong in docstring_faults(file)])


def test_tidy_pure_packages_import_nothing_impure() -> None:
    none(
        [
            f"{name(file)}:{line} imports {module}; use {IMPURE[top]}"
            for file in python(*PURE)
            for line, module in imports(file)
            if (top := module.split(".")[0]) in IMPURE
        ]
    )


def test_tidy_ray_is_imported_in_two_files() -> None:
    none(
        [
            f"{name(file)}:{line} imports {module}; use actors.handles"
            for file in python(*PACKAGES)
            if name(file) not in RAY_FILES
            for line, module in imports(file)
            if module.split(".")[0] == "ray"
        ]
    )


def test_tidy_banned_calls() -> None:
    none([wrong for file in python(*PACKAGES) for wrong in banned_calls(file)])


def test_tidy_errors_are_not_swallowed() -> None:
    none(
        [
            f"{at(file, node)} swallows every error; name the error, or log it"
            for file in python(*PACKAGES, "bench")
            for node in ast.walk(tree(file))
            if isinstance(node, ast.ExceptHandler) and swallows(node)
        ]
    )


def test_tidy_tasks_are_kept() -> None:
    # The loop holds a task weakly: one that nobody keeps may vanish in the middle.
    none(
        [
            f"{at(file, node)} drops its task; keep it, or use a TaskGroup"
            for file in python(*PACKAGES, "bench")
            for node in ast.walk(tree(file))
            if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and dotted(node.value.func).split(".")[-1] in ("create_task", "ensure_future")
            and not dotted(node.value.func).startswith(("group.", "tasks."))
        ]
    )


def test_tidy_nothing_is_left_for_later() -> None:
    none(found(LEFTOVER, code()))


def test_tidy_no_file_names_a_registry() -> None:
    none(found(REGISTRIES, files()))


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(a, b, c, d): ...", "positional"),
        ("class A:\n def f(self, a, b, c, d): ...", "positional"),
        ("def public(): ...", "docstring"),
        ("def _private():\n '''Text.'''\n return 1", "docstring"),
        ("try:\n pass\nexcept Exception:\n pass", "swallows"),
        ("try:\n pass\nexcept:\n x = 1", "swallows"),
        ("print(1)", "banned"),
        ("float(amount_wei)", "banned"),
    ],
)
def test_tidy_each_rule_can_fail(
    source: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    file = tmp_path / "engine" / "planted.py"
    file.parent.mkdir()
    file.write_text(f'"""Planted."""\n{source}\n')
    handlers = [node for node in ast.walk(tree(file)) if isinstance(node, ast.ExceptHandler)]
    seen = {
        "positional": any(positional(one) > POSITIONAL_MAX for one in functions(file)),
        "docstring": bool(docstring_faults(file)),
        "swallows": any(swallows(one) for one in handlers),
        "banned": bool(banned_calls(file)),
    }
    assert seen[fault]


def none(faults: list[str]) -> None:
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


@cache
def files() -> tuple[Path, ...]:
    found = []
    for folder, folders, names in ROOT.walk() if hasattr(ROOT, "walk") else walk(ROOT):
        folders[:] = [
            one
            for one in folders
            if one not in SKIPPED_FOLDERS
            and not one.endswith((".egg-info", "_cache"))
            and one not in (".hypothesis", ".stamps", "logs")
        ]
        found += [folder / one for one in names if one != ".env" and not one.endswith(".pyc")]
    return tuple(sorted(found))


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    entries = sorted(folder.iterdir())
    folders = [one.name for one in entries if one.is_dir() and not one.is_symlink()]
    yield folder, folders, [one.name for one in entries if one.is_file()]
    for one in folders:
        yield from walk(folder / one)


def code() -> list[Path]:
    return [file for file in files() if file.suffix in CODE and file.name not in LOCKS]


def python(*folders: str) -> list[Path]:
    chosen = [file for file in files() if file.suffix == ".py"]
    return [file for file in chosen if not folders or name(file).split("/")[0] in folders]


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def at(file: Path, node: ast.AST) -> str:
    return f"{name(file)}:{getattr(node, 'lineno', 0)}"


def lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines()


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(file: Path) -> list[Function]:
    return [node for node in ast.walk(tree(file)) if isinstance(node, Function)]


def positional(function: Function) -> int:
    names = [one.arg for one in function.args.posonlyargs + function.args.args]
    if names and names[0] in ("self", "cls"):
        names = names[1:]
    dunder = function.name.startswith("__") and function.name != "__init__"
    return 0 if dunder else len(names)


def imports(file: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def docstring_faults(file: Path) -> list[str]:
    module = tree(file)
    faults = []
    if lines(file) and ast.get_docstring(module) is None:
        faults.append(f"{name(file)}:1 the file has no docstring")
    return faults + list(_documented(file, module, public=True))


def _documented(file: Path, owner: ast.Module | ast.ClassDef, *, public: bool) -> Iterator[str]:
    # A protocol's method is said by its signature.
    bases = owner.bases if isinstance(owner, ast.ClassDef) else []
    is_protocol = any(dotted(one).split(".")[-1] == "Protocol" for one in bases)
    for node in owner.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("__"):
            continue
        shown = public and not node.name.startswith("_")
        text = ast.get_docstring(node)
        if shown and text is None and not is_protocol and not _is_said_elsewhere(node):
            yield f"{at(file, node)} {node.name} has no docstring"
        if not shown and text is not None and isinstance(node, Function):
            yield f"{at(file, node)} {node.name} is private, a comment says why if need be"
        if isinstance(node, ast.ClassDef):
            yield from _documented(file, node, public=shown)


def _is_said_elsewhere(node: Function | ast.ClassDef) -> bool:
    marks = {dotted(one).split(".")[-1] for one in node.decorator_list}
    return bool(marks & {"setter", "overload", "override"})


def banned_calls(file: Path) -> list[str]:
    package = name(file).split("/")[0]
    banned = dict(BANNED_CALLS)
    if package != "deploy":
        banned["print"] = "a logger"
    if package in PURE:
        banned["float"] = "integers; engine.text writes amounts"
    return [
        f"{at(file, node)} calls {dotted(node.func)}; use {banned[dotted(node.func)]}"
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and dotted(node.func) in banned
    ]


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return dotted(node.func)
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def swallows(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    broad = dotted(handler.type) in ("Exception", "BaseException")
    silent = all(isinstance(one, ast.Pass | ast.Continue | ast.Expr) for one in handler.body)
    calls = any(isinstance(one, ast.Call) for part in handler.body for one in ast.walk(part))
    return broad and silent and not calls


def found(pattern: re.Pattern[str], places: list[Path] | tuple[Path, ...]) -> list[str]:
    return [
        f"{name(file)}:{number} {match.group()}"
        for file in places
        for number, line in enumerate(lines(file), 1)
        if (match := pattern.search(line))
    ]
