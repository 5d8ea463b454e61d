"""Measure source against the targets of the project's style: sizes, parameters, cycles, leftovers."""

import ast
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp

FUNCTION_MEDIAN, FUNCTION_P90, FUNCTION_MOST = 5, 20, 60
MODULE_LINES = 400
PARAMETERS = 6  # without self or cls
LEFTOVERS = ("raise NotImplementedError", "TODO", "FIXME", "XXX")

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    where: str
    lines: int
    parameters: int


def modules(root: Path) -> list[Path]:
    return sorted(root.rglob("*.py"))


def functions(path: Path) -> Iterator[Function]:
    """Yield every function and method with its lines from `def` to the end, docstring apart."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, AnyFunction) and not is_declaration(node):
            yield Function(f"{path}:{node.lineno} {node.name}", lines(node), parameters(node))


def is_declaration(node: AnyFunction) -> bool:
    """Tell whether there is no body to measure: a method of a Protocol or an overload."""
    return all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in node.body)


def lines(node: ast.stmt) -> int:
    own = (node.end_lineno or node.lineno) - node.lineno + 1
    documented = isinstance(node, AnyFunction) and ast.get_docstring(node) is not None
    return own - lines(node.body[0]) if documented else own


def parameters(node: AnyFunction) -> int:
    a = node.args
    names = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def percentile90(values: list[int]) -> float:
    return statistics.quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else sum(values)


def breaches_of_functions(found: Iterable[Function]) -> list[str]:
    found = list(found)
    sizes = [f.lines for f in found] or [0]
    wrong = [f"{f.where} has {f.lines} lines, at most {FUNCTION_MOST}" for f in found if f.lines > FUNCTION_MOST]
    wrong += [f"{f.where} takes {f.parameters}, at most {PARAMETERS}" for f in found if f.parameters > PARAMETERS]
    if statistics.median(sizes) > FUNCTION_MEDIAN:
        wrong.append(f"the median function has {statistics.median(sizes)} lines, at most {FUNCTION_MEDIAN}")
    if percentile90(sizes) > FUNCTION_P90:
        wrong.append(f"one function in ten has over {percentile90(sizes):.0f} lines, at most {FUNCTION_P90}")
    return wrong


def breaches_of_modules(root: Path) -> list[str]:
    wrong = []
    for path in modules(root):
        text = path.read_text()
        if (length := text.count("\n")) > MODULE_LINES:
            wrong.append(f"{path} has {length} lines, at most {MODULE_LINES}")
        if path.name == "__init__.py" and text.strip():
            wrong.append(f"{path} is not empty")
        wrong += [f"{path} still says {word}" for word in LEFTOVERS if word in text]
    return wrong


def cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or in a circle (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(imports.get(module, ())):
            if other not in order:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(imports):
        if module not in order:
            visit(module)
    return found


def imports_of(package: str) -> dict[str, set[str]]:
    """Return who imports whom inside a package, what stands under TYPE_CHECKING or in functions counted."""
    graph = grimp.build_graph(package, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
