"""Packages that a program of this repository imports, itself or by other files of ours, read from the source.

Modules that a registry finds in a folder count. What is imported inside a function may never be: with some
settings it is, with others not. So such imports do not count, except by `import_module` with a name in
quotes; whoever calls those functions adds the names.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_FOLDERS: Final = (ROOT, ROOT / "tests" / "helpers")  # in which modules of ours lie


def packages_of(programs: Iterable[Path], folders: Sequence[Path] = _FOLDERS) -> tuple[str, ...]:
    """Return the names of the packages, other than Python's own, that are imported when programs start.

    Args:
        programs: Python files, or folders of them.
        folders: Folders in which modules lie whose own imports count.

    Returns:
        Names by which packages are imported, such as `cv2`, in alphabetical order.

    Raises:
        SyntaxError: If a file is no Python.
    """
    waiting = [file for program in programs for file in _files_of(program)]
    seen, found = set[Path](), set[str]()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        tree = ast.parse(file.read_text(), str(file))
        waiting += _discovered(tree, file, folders)
        for name in (*_imported(tree), *_imported_by_name(tree)):
            ours = list(_files_of_module(name, folders))
            waiting += ours
            top = name.partition(".")[0]
            if not ours and top not in sys.stdlib_module_names and not _is_ours(top, folders):
                found.add(top)
    return tuple(sorted(found))


def missing(packages: Iterable[str]) -> list[str]:
    """Return the packages that this Python cannot import, in the order given."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def _files_of(program: Path) -> list[Path]:
    return sorted(program.rglob("*.py")) if program.is_dir() else [program]


def _imported(tree: ast.AST) -> Iterator[str]:
    """Names of modules, and of what may be modules in packages, that are imported outside functions."""
    for node in _outside_functions(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """All that runs when a file is imported."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _outside_functions(child)


def _discovered(tree: ast.AST, file: Path, folders: Sequence[Path]) -> Iterator[Path]:
    """Files of the folders that `constants_of` imports: that of this file, or one imported by name."""
    named = {name.rpartition(".")[2]: name for name in _imported(tree)}
    for node in _outside_functions(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "constants_of":
            package = named.get(ast.unparse(node.args[0]))
            own = list(_files_of_module(package, folders))[-1:] if package else [file]
            yield from (found for path in own for found in sorted(path.parent.glob("*.py")))


def _imported_by_name(tree: ast.AST) -> Iterator[str]:
    """Names that `import_module` is given, wherever it is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            named = [one.value for one in node.args if isinstance(one, ast.Constant)]
            yield from (name for name in named if isinstance(name, str))


def _files_of_module(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    """Files of ours that an import of a module runs: its own, and those of the packages that it lies in."""
    parts = name.split(".")
    for folder in folders:
        for count in range(1, len(parts) + 1):
            path = folder.joinpath(*parts[:count])
            yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())


def _is_ours(top: str, folders: Sequence[Path]) -> bool:
    return any((folder / top).is_dir() or (folder / f"{top}.py").is_file() for folder in folders)
