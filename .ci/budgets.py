"""Sizes that the project keeps to: lines of functions and files, parameters; exit 1 beyond them.

A function's length is its code: docstring, blank and comment-only lines are free. A file's is all
its lines.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_FILE_LINES = 399
MAX_PARAMETERS = 7
MAX_FUNCTION_LINES = {"app": 60, "worker": 60, "ddcal_core": 80, "ddcal": 60}


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """Lines of code of a function, from `def` to its end."""
    docstring: set[int] = set()
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        docstring = set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return sum(
        1
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if number not in docstring
        and source[number - 1].strip()
        and not source[number - 1].lstrip().startswith("#")
    )


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Parameters of a function, less self and cls."""
    names = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])


def over_budget(path: Path, max_function_lines: int) -> list[str]:
    """What in a file is larger than it may be, one line each."""
    text = path.read_text(encoding="utf-8")
    source = text.splitlines()
    where = path.relative_to(ROOT)
    found = []
    if len(source) > MAX_FILE_LINES:
        found.append(f"{where}: {len(source)} lines, at most {MAX_FILE_LINES}")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        place = f"{where}:{node.lineno} {node.name}"
        lines, n_parameters = function_lines(node, source), parameters(node)
        if lines > max_function_lines:
            found.append(f"{place}: {lines} lines of code, at most {max_function_lines}")
        # The options of a command are the parameters of its function.
        if n_parameters > MAX_PARAMETERS and where.parts[:2] != ("ddcal", "cli"):
            found.append(f"{place}: {n_parameters} parameters, at most {MAX_PARAMETERS}")
    return found


def main() -> int:
    """Print everything over its budget; 1 when there is something."""
    found = [
        line
        for package, max_function_lines in MAX_FUNCTION_LINES.items()
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in over_budget(path, max_function_lines)
    ]
    print("\n".join(found) or "all sizes within budget")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
