"""The house stays readable: the targets of the style guide are measured, and the measuring is tested."""

from pathlib import Path

from tests.architecture import measure

SOURCE = Path(__file__).parents[2] / "src" / "dray"


def test_functions_are_short_and_take_few_parameters() -> None:
    found = [f for path in measure.modules(SOURCE) for f in measure.functions(path)]
    assert measure.breaches_of_functions(found) == []


def test_modules_are_short_finished_and_packages_are_empty() -> None:
    assert measure.breaches_of_modules(SOURCE) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert measure.cycles(measure.imports_of("dray")) == []


def test_measuring_finds_a_long_function_with_many_parameters(tmp_path: Path) -> None:
    body = "\n".join(f"    x = {n}" for n in range(60))
    sample = tmp_path / "sample.py"
    sample.write_text(f"def long(self, a, b, c, d, e, f, *, g):\n    '''Text.'''\n{body}\n")
    found = list(measure.functions(sample))
    assert [(f.lines, f.parameters) for f in found] == [(61, 7)]
    assert len(measure.breaches_of_functions(found)) == 4


def test_measuring_leaves_docstrings_and_declarations_out(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text("def a():\n    '''One.\n\n    More.'''\n    return 1\n\n\ndef b() -> int: ...\n")
    assert [f.lines for f in measure.functions(sample)] == [2]


def test_measuring_finds_long_unfinished_modules_and_filled_packages(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("from x import y\n")
    (tmp_path / "long.py").write_text("pass\n" * 401)
    (tmp_path / "open.py").write_text("raise NotImplementedError  # TODO\n")
    assert len(measure.breaches_of_modules(tmp_path)) == 4


def test_measuring_finds_cycles_of_any_length() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"f"}, "f": {"e"}}
    assert measure.cycles(imports) == [["a", "b", "c"], ["e", "f"]]
