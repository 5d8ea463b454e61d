"""What is committed works anywhere: no path of somebody's machine, no address of a package registry."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Put together from pieces, so that this file does not name what it looks for.
WRONG = {
    "a directory of one machine": r"(?<![\w.$}/-])/" + r"(?:work|root|home/\w+|Users/\w+|opt/pypi[\w-]*|mnt)/[\w.]",
    "a scratch directory": r"/" + r"tmp/(?:sp|bash_jobs|claude)",
    "a package registry": r"(?:py" + r"pi\.org|python" + r"hosted\.org|registry\.npm" + r"js\.org|npm" + r"js\.com/)",
    "an index option": r"^\s*--(?:extra-" + r"index-url|index-" + r"url|find-" + r"links)",
    "the shared folder": r"\.\./" + r"shared\b",
}
PATTERNS = {name: re.compile(pattern, re.MULTILINE) for name, pattern in WRONG.items()}


def tracked_texts() -> list[tuple[Path, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    contents = [(path, path.read_bytes()) for path in files if path.is_file()]
    return [(path, data.decode(errors="replace")) for path, data in contents if b"\0" not in data]


def breaches(text: str) -> list[str]:
    return [f"{name}: {found.group()}" for name, p in PATTERNS.items() if (found := p.search(text))]


def test_no_tracked_file_names_a_local_path_or_registry() -> None:
    wrong = [f"{path.relative_to(ROOT)} names {b}" for path, text in tracked_texts() for b in breaches(text)]
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "work/main/x",
        "path=/" + "home/anna/data",
        "--index-" + "url example",
        "https://files.python" + "hosted.org/x",
        "https://registry.npm" + "js.org/tus",
    ],
)
def test_looking_finds_a_local_path_or_registry(text: str) -> None:
    assert breaches(text)


@pytest.mark.parametrize("text", ["/api/v1/work/x", "src/dray/work/loop.py", "$HOME/work/a", "/tmp/example"])
def test_looking_leaves_ordinary_paths_alone(text: str) -> None:
    assert breaches(text) == []
