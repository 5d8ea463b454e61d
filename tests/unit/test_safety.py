"""`dray safe` decides: never a yes for bytes that are not there any more, nor for a copy that is not sure enough."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dray.clock import SystemClock
from dray.errors import NotFound
from dray.fs import Root
from dray.model import views
from dray.model.filters import Filters
from dray.model.values import Level
from dray.moving.known import Known, Sent
from dray.moving.report import NullReport
from dray.moving.reread import Reader
from dray.moving.rollup import Rollup
from dray.moving.safety import Copy, Safety, Verdict, Whereabouts, joined
from dray.moving.walk import Found, Tree, Walk, trees


class Server:
    """Answers the question of the client as a server would that has every file, and does things meanwhile."""

    def __init__(self, level: Level = "durable", meanwhile: Callable[[], None] = lambda: None) -> None:
        self.level = level
        self.meanwhile = meanwhile
        self.asked: list[views.CheckItem] = []
        self.lie: str | None = None

    async def api(self, server: str) -> "Server":
        return self

    async def check(self, request: views.CheckRequest) -> list[views.CheckedFile]:
        if request.dataset == "absent":
            raise NotFound("there is no such dataset")
        self.asked += request.items
        if request.items[0].checksum:
            self.meanwhile()
        return [self.answer(item) for item in request.items]

    def answer(self, item: views.CheckItem) -> views.CheckedFile:
        if not item.checksum:
            return views.CheckedFile(path=item.path, state="unknown", reason="only a checksum tells", version_number=1)
        return views.CheckedFile(
            path=item.path,
            state="verified",
            reason="",
            version_number=1,
            size=item.size,
            checksum=self.lie or item.checksum,
            level=self.level,
            verified_at=1.0,
        )


def judge(path: Path, server: Server, level: Level = "durable", dataset: str = "d") -> list[Verdict]:
    (tree,) = trees([str(path)])

    async def story() -> list[Verdict]:
        with Root(tree.root) as root:
            found = [one for one in Walk(Filters(), 0.0).run(tree) if isinstance(one, Found)]
            reader = Reader(root, None, SystemClock(), NullReport(), asyncio.Event())
            where = lambda full, one: [Copy("http://s", dataset, one.path)]  # noqa: E731
            return await Safety(tree, reader, server, where, level).judge(found)  # type: ignore[arg-type]

    return asyncio.run(story())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("run/a", "run/sub/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path / "run"


def states(verdicts: list[Verdict]) -> list[str]:
    return [verdict.state for verdict in verdicts]


def test_a_verified_copy_of_the_bytes_that_are_read_now_is_safe(run: Path) -> None:
    verdicts = judge(run, Server())
    assert states(verdicts) == ["safe", "safe"]
    assert verdicts[0].path == str(run / "a")


@pytest.mark.parametrize("change", [lambda path: path.write_text("run/A"), lambda path: path.unlink()])
def test_a_file_that_changes_while_the_server_is_asked_is_not_safe(run: Path, change: Callable[[Path], None]) -> None:
    assert states(judge(run, Server(meanwhile=lambda: change(run / "a")))) == ["moving", "safe"]


def test_another_file_of_the_same_name_and_time_is_another_version(run: Path) -> None:
    def swap() -> None:
        times = (run / "a").stat()
        (run / "new").write_text("RUN/A")
        os.utime(run / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
        (run / "new").rename(run / "a")

    assert states(judge(run, Server(meanwhile=swap)))[0] == "moving"


@pytest.mark.parametrize(
    ("has", "wanted", "state"),
    [("flushed", "durable", "moving"), ("flushed", "flushed", "safe"), ("service", "flushed", "moving")],
)
def test_the_copy_has_to_be_as_sure_as_is_asked_for(run: Path, has: Level, wanted: Level, state: str) -> None:
    assert set(states(judge(run, Server(level=has), wanted))) == {state}


def test_an_answer_about_other_bytes_is_no_yes(run: Path) -> None:
    server = Server()
    server.lie = "sha256:" + "0" * 64
    assert set(states(judge(run, server))) == {"differs"}


def test_an_unknown_dataset_knows_nothing(run: Path) -> None:
    assert set(states(judge(run, Server(), dataset="absent"))) == {"unknown"}


def test_a_path_the_server_cannot_have_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    server = Server()
    (tree,) = trees([str(tmp_path / "x")])

    async def story() -> list[Verdict]:
        with Root(tree.root) as root:
            found = [one for one in Walk(Filters(), 0.0).run(tree) if isinstance(one, Found)]
            reader = Reader(root, None, SystemClock(), NullReport(), asyncio.Event())
            where = lambda full, one: [Copy("http://s", "d", "x" * 2000)]  # noqa: E731
            return await Safety(tree, reader, server, where, "durable").judge(found)  # type: ignore[arg-type]

    assert states(asyncio.run(story())) == ["unknown"]
    assert server.asked == []


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    with Known(tmp_path / "known.sqlite") as notes:
        yield notes


def test_a_file_is_where_its_folder_went_the_latest_first(known: Known) -> None:
    known.remember([Sent("/data/run", "http://a", "d", "x/run", 1.0), Sent("/data", "http://b", "e", "", 2.0)])
    known.remember([Sent("/data/run/sub/f", "http://c", "g", "f", 3.0)])
    assert Whereabouts(known).copies("/data/run/sub/f") == [
        Copy("http://c", "g", "f"),
        Copy("http://b", "e", "run/sub/f"),
        Copy("http://a", "d", "x/run/sub/f"),
    ]
    assert Whereabouts(known).copies("/other/f") == []


def test_parts_of_a_path_are_joined_without_empty_ones() -> None:
    assert joined("", "a", "", "b") == "a/b"


def verdict(path: str, state: str) -> Verdict:
    return Verdict(path, state, "", size=1)  # type: ignore[arg-type]


def test_a_folder_is_safe_when_all_in_it_is_and_then_nothing_below_is_named() -> None:
    rollup = Rollup(Tree("/r"))
    for path, state in (
        ("/r/a/1", "safe"),
        ("/r/a/b/2", "safe"),
        ("/r/c/3", "moving"),
        ("/r/c/d/4", "safe"),
        ("/r/5", "safe"),
    ):
        rollup.add(verdict(path, state))
    found = [(folder.path, folder.state, folder.files) for folder in rollup.folders()]
    assert found == [("/r", "moving", 5), ("/r/a", "safe", 2), ("/r/c", "moving", 2), ("/r/c/d", "safe", 1)]


def test_the_worst_file_decides_about_its_folder() -> None:
    rollup = Rollup(Tree("/"))
    for path, state in (("/1", "safe"), ("/2", "unknown"), ("/3", "differs"), ("/4", "moving")):
        rollup.add(verdict(path, state))
    (folder,) = rollup.folders()
    assert (folder.state, folder.states, folder.bytes) == (
        "differs",
        {"safe": 1, "unknown": 1, "differs": 1, "moving": 1},
        4,
    )


def test_no_files_make_no_folder() -> None:
    assert list(Rollup(Tree("/r")).folders()) == []
