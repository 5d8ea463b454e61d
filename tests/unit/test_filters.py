"""Rules decide as they read, pruning never hides a file that would be taken, and scans agree with explanations."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.errors import UsageError
from dray.model.filters import HOT_DIRECTORY, Filters, Folder, SizeAndAge, parse_rule


def taken(rules: list[str], path: str, ignores: tuple[str, ...] = ()) -> bool:
    return Filters.parse(rules, ignores).takes(path)


@pytest.mark.parametrize(
    ("pattern", "matches", "misses"),
    [
        ("*.h5", ["a.h5", "x/y/a.h5", ".h5", "new\nline.h5"], ["a.h5x", "a.h"]),
        ("*.h5", ["a.h5/inside"], ["h5/inside"]),
        ("/top.txt", ["top.txt"], ["x/top.txt"]),
        ("tmp/**", ["tmp/a", "tmp/b/c"], ["x/tmp/a", "tmp"]),
        ("tmp/", ["tmp/a", "x/tmp/a", "x/tmp/y/a"], ["tmp", "x/tmp"]),
        ("a/b", ["a/b", "a/b/c"], ["x/a/b", "a/bc"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["b/a/z", "az"]),
        ("**/z/q", ["z/q", "a/z/q", "a/b/z/q/deep"], ["zq", "az/q"]),
        ("a?c", ["abc", "x/a.c"], ["ac", "a/c", "abbc"]),
        ("run[0-9].dat", ["run3.dat"], ["runx.dat", "run10.dat"]),
        ("run[!0-9]", ["runx"], ["run3", "run/"]),
        ("[]x]", ["]", "x"], ["y"]),
        ("[a\\-z]", ["a", "-", "z"], ["b"]),
        ("[a-]", ["a", "-"], ["b"]),
        (r"\*", ["*"], ["a"]),
        (r"\[x\]", ["[x]"], ["x"]),
        ("a b.txt", ["a b.txt"], ["ab.txt"]),
        ("ü*", ["über", "x/ü"], ["u"]),
        ("**", ["a", "a/b"], []),
        ("*", ["a", "a/b"], []),
    ],
)
def test_a_pattern_means_what_it_says(pattern: str, matches: list[str], misses: list[str]) -> None:
    filters = Filters.parse([f"- {pattern}"])
    assert [path for path in matches if filters.takes(path)] == []
    assert [path for path in misses if not filters.takes(path)] == []


def test_the_first_rule_that_matches_wins() -> None:
    assert taken(["+ keep.tmp", "- *.tmp"], "x/keep.tmp")
    assert not taken(["- *.tmp", "+ keep.tmp"], "x/keep.tmp")


def test_a_file_that_no_rule_matches_is_taken_unless_the_last_rule_leaves_out_everything() -> None:
    assert taken(["+ *.h5"], "a.txt")
    assert not taken(["+ *.h5", "- **"], "a.txt")
    assert taken(["+ *.h5", "- **"], "deep/a.h5")


def test_an_explanation_is_the_rule_that_decided() -> None:
    filters = Filters.parse(["+ *.h5", "- tmp/**"], HOT_DIRECTORY)
    assert [filters.explain(path) for path in ("a.txt", "tmp/a.h5")] == [None, parse_rule("+ *.h5")]
    assert [str(rule and rule.text) for rule in map(filters.explain, ("tmp/b", "x.part"))] == ["- tmp/**", "- *.part"]


@pytest.mark.parametrize("text", ["*.h5", "+", "+ ", "- /", "+*.h5", "! x", "- [a", "- [z-a]", "- a\\", "- []"])
def test_a_rule_that_cannot_be_read_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(text))):
        parse_rule(text)


def test_comments_and_empty_lines_of_a_filter_file_are_left_out() -> None:
    assert [rule.text for rule in Filters.parse(["# scans", "", "  - *.log \n"]).rules] == ["- *.log"]


@pytest.mark.parametrize(
    "name", [".h5.x7", "a.tmp", "a.part", ".~lock.a#", ".nfs0001", "~$a.docx", ".dray-x", "d/.x/a"]
)
def test_names_in_progress_are_ignored_even_where_a_rule_takes_everything(name: str) -> None:
    for rules in ([], ["+ **"], ["+ *", "- **"], ["+ *.*", "+ d/**"]):
        assert not taken(rules, name, HOT_DIRECTORY)


def test_a_rule_that_spells_an_ignored_name_out_takes_it() -> None:
    assert taken(["+ .z*"], "a.zarr/.zattrs", HOT_DIRECTORY)
    assert taken(["+ .zarr/**"], ".zarr/x", HOT_DIRECTORY)
    assert taken(["+ keep/*.tmp"], "keep/a.tmp", HOT_DIRECTORY)
    assert not taken(["+ .z*"], ".git/config", HOT_DIRECTORY)
    assert not taken(["- .z*"], ".zattrs", HOT_DIRECTORY)


@pytest.mark.parametrize(
    ("rules", "pruned", "kept"),
    [
        (["- tmp/**"], ["tmp", "tmp/x"], ["x", "x/tmp"]),
        (["- tmp/"], ["tmp", "x/tmp"], ["x"]),
        (["+ *.h5", "- tmp/"], [], ["tmp"]),
        (["+ raw/**", "- **"], ["other", "a/b"], ["raw", "raw/x"]),
        (["+ data/keep/**", "- data/**"], ["data/other"], ["data", "data/keep", "data/keep/x"]),
        (["+ a/*.h5", "- a/**"], ["a/b"], ["a"]),
        (["- data", "+ **"], ["data", "x/data"], ["x"]),
    ],
)
def test_a_folder_is_pruned_exactly_where_nothing_below_can_be_taken(
    rules: list[str], pruned: list[str], kept: list[str]
) -> None:
    filters = Filters.parse(rules)
    assert [path for path in pruned if not filters.folder(path).pruned()] == []
    assert [path for path in kept if filters.folder(path).pruned()] == []


def test_hidden_folders_are_pruned_unless_a_rule_spells_them_out() -> None:
    assert Filters.parse([], HOT_DIRECTORY).folder("a/.git").pruned() == parse_rule("- .*")
    assert Filters.parse(["+ .git/config"], HOT_DIRECTORY).folder(".git").pruned() is None
    assert Filters.parse(["+ *.h5"], HOT_DIRECTORY).folder(".git").pruned() is not None


def test_bounds_leave_out_what_is_too_small_large_old_or_new_with_a_reason() -> None:
    bounds = SizeAndAge(min_size=2, max_size=10, min_age=5, max_age=50)
    refusals = [
        bounds.refusal(size, 100.0 - age, 100.0) for size, age in ((1, 9), (11, 9), (5, 51), (5, 4), (2, 5), (10, 50))
    ]
    assert [bool(refusal) for refusal in refusals] == [True, True, True, True, False, False]


NAMES = st.sampled_from(["a", "b", "ab", "a.h5", "b.tmp", ".z", "x y", "a\nb"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(
    st.sampled_from(["a", "b", "*", "**", "?", "*.h5", "*.tmp", "a*", ".z", ".*", "[ab]", "[!a]*"]),
    min_size=1,
    max_size=3,
).map("/".join)
RULES = st.lists(
    st.builds(lambda sign, lead, body, tail: f"{sign} {lead}{body}{tail}",
              st.sampled_from("+-"), st.sampled_from(["", "/"]), PATTERNS, st.sampled_from(["", "/"])),
    max_size=4,
)  # fmt: skip


def naive(pattern: str, path: str, is_folder: bool) -> bool:
    """Match one path by trying every way to spread its names over the components of the pattern."""
    body = pattern.rstrip("/")
    parts = [part for part in body.split("/") if part]
    if "/" not in body:
        parts = ["**", *parts] if parts != ["**"] else parts
    return (is_folder or not pattern.endswith("/")) and spread(parts, path.split("/"))


def spread(parts: list[str], names: list[str]) -> bool:
    if not parts or not names:
        return not parts and not names
    if parts[0] != "**":
        return glob(parts[0], names[0]) and spread(parts[1:], names[1:])
    if len(parts) == 1:
        return True
    return any(spread(parts[1:], names[used:]) for used in range(len(names)))


def glob(part: str, name: str) -> bool:
    if part.startswith("["):
        wanted = (name[0] in "ab") if part == "[ab]" else name[0] != "a"
        return wanted and (len(name) == 1 or part.endswith("*"))
    return bool(re.fullmatch(re.escape(part).replace(r"\*", ".*").replace(r"\?", "."), name, re.DOTALL))


def first(rules: list[str], path: str) -> str | None:
    names = path.split("/")
    ways = [("/".join(names[:end]), end < len(names)) for end in range(1, len(names) + 1)]
    found = (rule for rule in rules if any(naive(rule[2:], way, folder) for way, folder in ways))
    return next(found, None)


@given(RULES, PATHS)
def test_the_decision_is_the_first_rule_that_names_the_file_or_a_folder_above_it(rules: list[str], path: str) -> None:
    decided = Filters.parse(rules).explain(path)
    assert (decided.text if decided else None) == first(rules, path)


@given(RULES, PATHS, st.booleans())
def test_nothing_that_would_be_taken_lies_below_a_pruned_folder(rules: list[str], path: str, hot: bool) -> None:
    filters = Filters.parse(rules, HOT_DIRECTORY if hot else ())
    if filters.takes(path):
        assert [above for above in parents(filters, path) if above.pruned()] == []


def parents(filters: Filters, path: str) -> list[Folder]:
    names = path.split("/")[:-1]
    return [filters.folder("/".join(names[:end])) for end in range(1, len(names) + 1)]
