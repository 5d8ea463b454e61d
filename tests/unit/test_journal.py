"""The journal keeps what was seen and how far it got, refuses impossible steps, and takes up what a crash left."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dray.agent import schema
from dray.agent.journal import Ended, Journal, Key, Seen, Sighting, standing
from dray.agent.ledger import Ledger
from dray.agent.schema import FAR
from dray.errors import Busy, Conflict, NoSpace, Permanent
from dray.model.manner import PLAIN
from dray.model.states import SIGHTING

KEY = Key("run 1/a\nb", "file\udcff.h5")
SEEN = Seen(5, 10, 20, 30)


def sighting(state: str, key: Key = KEY, seen: Seen = SEEN, due: float = 7.0) -> Sighting:
    return Sighting(key, seen, state, "closed", 1.0, due, "because")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


def state_of(journal: Journal, key: Key = KEY) -> str | None:
    row = journal.row(key)
    return row and row.state


def put(journal: Journal, *sightings: Sighting) -> None:
    with journal.transaction():
        journal.put(sightings)


def test_a_name_comes_back_as_it_was_whatever_bytes_it_has(journal: Journal) -> None:
    put(journal, sighting("settling"))
    row = journal.row(KEY)
    assert row is not None
    assert (row.seen, row.state, row.notice, row.since) == (SEEN, "settling", "closed", 1.0)
    assert journal.rows(KEY.folder) == {KEY.name: row}
    assert journal.rows("run 1") == {}
    assert journal.folders() == [KEY.folder]


def test_a_step_that_the_table_does_not_allow_leaves_the_row_as_it_was(journal: Journal) -> None:
    for before, after in [(b, a) for b in SIGHTING for a in SIGHTING if a != b and a not in SIGHTING[b]]:
        key = Key("", f"{before} to {after}")
        put(journal, sighting(before, key))
        with pytest.raises(Permanent, match="cannot change its state"):
            put(journal, sighting(after, key))
        assert state_of(journal, key) == before


def test_what_waits_comes_oldest_first_and_only_when_it_is_due(journal: Journal) -> None:
    keys = [Key("", name) for name in "abc"]
    put(journal, *(sighting("queued", key, due=due) for key, due in zip(keys, (3.0, 1.0, 9.0), strict=True)))
    assert [queued.key.name for queued in journal.waiting(5.0)] == ["b", "a"]
    assert journal.due() == (None, 1.0)


def test_a_file_that_changed_on_its_way_settles_again_however_the_sending_ended(journal: Journal) -> None:
    for state in ("delivered", "queued", "failed"):
        key = Key("", state)
        put(journal, sighting("queued", key))
        with journal.transaction():
            journal.send({key: None})
            journal.again([key])
            journal.end([Ended(key, state, checksum="sha256:00")], mono=50.0)
        row = journal.row(key)
        assert row is not None
        assert (row.state, row.since) == ("settling", 50.0)


def test_an_end_is_recorded_only_for_what_is_on_its_way(journal: Journal) -> None:
    put(journal, sighting("settling"))
    with journal.transaction():
        journal.end([Ended(KEY, "delivered")], mono=1.0)
    assert state_of(journal) == "settling"


def test_a_vanished_file_is_closed_with_a_reason_and_a_skipped_name_is_forgotten(journal: Journal) -> None:
    put(
        journal,
        *(sighting(state, Key("", state)) for state in ("queued", "delivered", "skipped", "refused", "sending")),
    )
    with journal.transaction():
        journal.vanish([Key("", state) for state in ("queued", "delivered", "skipped", "refused", "sending")], 99.0)
    told = {row.key.name: row.reason for row in journal.in_state("gone")}
    assert told == {"queued": "deleted before it was delivered", "delivered": "deleted after it was delivered"}
    assert [state_of(journal, Key("", name)) for name in ("skipped", "refused", "sending")] == [None, None, "sending"]


def test_a_new_run_takes_up_what_was_cut_off_and_tries_again_what_failed(journal: Journal) -> None:
    put(journal, *(sighting(state, Key("", state)) for state in ("sending", "failed", "settling", "delivered")))
    with journal.transaction():
        journal.begin(mono=1000.0, wall=5.0, forget=0.0)
    assert sorted(queued.key.name for queued in journal.waiting(5.0)) == ["failed", "sending"]
    assert journal.resting(1000.0, 9) == [Key("", "settling")]
    assert state_of(journal, Key("", "delivered")) == "delivered"


def test_gone_files_and_empty_folders_are_forgotten_after_a_time(journal: Journal) -> None:
    put(journal, sighting("gone", due=10.0), sighting("gone", Key("other", "x"), due=30.0))
    with journal.transaction():
        journal.begin(mono=0.0, wall=0.0, forget=20.0)
    assert journal.folders() == ["other"]


def test_a_clock_that_was_set_back_leaves_nothing_waiting_for_ever(journal: Journal) -> None:
    put(journal, sighting("queued", due=1e9))
    with journal.transaction():
        journal.hurry(now=5.0, latest=100.0)
    assert [queued.key for queued in journal.waiting(5.0)] == [KEY]


def test_a_done_file_wakes_what_waits_for_it_in_its_folder_and_below(journal: Journal) -> None:
    keys = [Key("a", "1"), Key("a/b", "2"), Key("ab", "3"), Key("", "4")]
    put(journal, *(sighting("settling", key, due=FAR) for key in keys))
    assert journal.due() == (None, None)
    with journal.transaction():
        journal.wake("a", 8.0)
    assert sorted(journal.resting(8.0, 9)) == keys[:2]
    with journal.transaction():
        journal.wake("", 8.0)
    assert len(journal.resting(8.0, 9)) == 4


def test_the_tally_counts_by_state_and_reason(journal: Journal) -> None:
    put(journal, sighting("skipped", Key("", "a")), sighting("skipped", Key("", "b")), sighting("queued", Key("", "c")))
    assert [(t.state, t.reason, t.files, t.bytes) for t in journal.tallies()] == [
        ("queued", "because", 1, 5),
        ("skipped", "because", 2, 10),
    ]
    assert journal.queued() == (1, 5)


@pytest.mark.parametrize(
    "name",
    [
        "WAITING",
        "RESTING",
        "FIRST_DUE",
        "QUEUED",
        "WAKE",
        "HURRY",
        "ROWS",
        "ROW",
        "END",
        "SEND",
        "NEWEST",
        "SMALLEST",
        "HOLDER",
        "BEFORE",
        "DELIVERED",
        "FIRST_DELIVERED",
        "UNDELIVER",
        "VANISH_UNSENT",
        "COUNT_REMOVALS",
    ],
)
def test_what_is_asked_often_never_goes_through_the_whole_journal(journal: Journal, name: str) -> None:
    statement = getattr(schema, name)
    sql = journal._sql
    for index in (*schema.ORDERS.values(), schema.RENAMES, schema.LEAVING, schema.REMOVALS):
        sql.execute(index)
    names = set(re.findall(r":(\w+)", statement))
    values = dict.fromkeys(names) if names else (None,) * statement.count("?")
    steps = [step for *_, step in sql.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert [step for step in steps if step == "SCAN file" or "TEMP B-TREE" in step] == []


def test_notes_are_kept(journal: Journal) -> None:
    with journal.transaction():
        assert journal.recall("rules") is None
        journal.note("rules", "1")
        journal.note("rules", "2")
    assert journal.recall("rules") == "2"


def test_a_journal_of_a_newer_dray_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA user_version = 99")
    sql.close()
    with pytest.raises(Conflict, match="newer Dray"):
        Journal(path)


def test_a_damaged_journal_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(Permanent, match="move it away"):
        Journal(path)


def test_one_call_that_fails_takes_nothing_else_of_its_group_along(tmp_path: Path) -> None:
    def fail(journal: Journal) -> None:
        journal.put([sighting("queued", Key("", "lost"))])
        raise ValueError("wrong")

    async def story() -> list[object]:
        async with Ledger(tmp_path / "journal.sqlite") as ledger:
            calls = [ledger.run(lambda j, n=n: j.put([sighting("queued", Key("", n))])) for n in "abc"]
            return await asyncio.gather(*calls, ledger.run(fail), return_exceptions=True)

    assert [type(result).__name__ for result in asyncio.run(story())] == ["NoneType"] * 3 + ["ValueError"]
    journal = Journal(tmp_path / "journal.sqlite")
    assert sorted(journal.rows("")) == ["a", "b", "c"]
    journal.close()


def test_a_second_agent_on_the_same_journal_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with Ledger(tmp_path / "journal.sqlite"), Ledger(tmp_path / "journal.sqlite"):
            pass

    with pytest.raises(Busy, match="another agent"):
        asyncio.run(story())


def test_a_full_disk_is_told_as_such_and_work_goes_on_when_there_is_space(tmp_path: Path) -> None:
    def limit(pages: int) -> Callable[[Journal], None]:
        return lambda journal: journal._sql.execute(f"PRAGMA max_page_count={pages}") and None

    def fill(start: int) -> Callable[[Journal], None]:
        keys = [Key("", f"{number:0200}") for number in range(start, start + 100)]
        return lambda journal: journal.put([sighting("queued", key) for key in keys])

    async def story() -> int:
        async with Ledger(tmp_path / "journal.sqlite") as ledger:
            await ledger.run(fill(0))
            await ledger.run(limit(1))
            results = await asyncio.gather(*(ledger.run(fill(n)) for n in (1000, 2000)), return_exceptions=True)
            assert [type(result) for result in results] == [NoSpace, NoSpace]
            await ledger.run(limit(100_000))
            await ledger.run(fill(3000))
            return await ledger.run(lambda journal: len(journal.rows("")))

    assert asyncio.run(story()) == 200


KILLED = """
import asyncio, os, sys
from pathlib import Path
from dray.agent.journal import Key, Seen, Sighting
from dray.agent.ledger import Ledger

async def story():
    async with Ledger(Path(sys.argv[1])) as ledger:
        for number in range(10_000):
            seen = Sighting(Key("", str(number)), Seen(1, 1, 1, 1), "queued", "found", 0.0, 0.0, "")
            await ledger.run(lambda journal: journal.put([seen]))
            print(number, flush=True)

asyncio.run(story())
"""


def test_what_was_acknowledged_is_there_after_a_kill_and_nobody_is_locked_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "src"}) as child:
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(20)]
        child.kill()

    async def kept() -> int:
        async with Ledger(path) as ledger:
            return await ledger.run(lambda journal: len(journal.rows("")))

    assert asyncio.run(kept()) > told[-1]


STEPS = st.lists(
    st.sampled_from(["put", "vanish", "send", "delivered", "queued", "failed", "again", "settle", "begin"])
)


@settings(max_examples=40)
@given(STEPS, st.lists(st.sampled_from(["settling", "queued", "skipped", "refused"]), min_size=1))
def test_no_order_of_calls_leaves_a_file_neither_ended_nor_waiting(steps: list[str], looks: list[str]) -> None:
    journal = Journal(Path(":memory:"))
    for number, step in enumerate(steps):
        with journal.transaction():
            act(journal, step, looks[number % len(looks)])
    with journal.transaction():
        journal.begin(mono=0.0, wall=100.0, forget=-1.0)
    state = state_of(journal)
    waiting = [*journal.resting(0.0, 9), *(queued.key for queued in journal.waiting(100.0))]
    assert (waiting == [KEY]) == (state in ("settling", "queued"))
    journal.close()


def act(journal: Journal, step: str, look: str) -> None:
    state = state_of(journal)
    if step == "put" and state != "sending":
        journal.put([sighting(look)])
    elif step == "vanish":
        journal.vanish([KEY], 1.0)
    elif step == "send" and state == "queued":
        journal.send({KEY: None})
    elif step in ("delivered", "queued", "failed"):
        journal.end([Ended(KEY, step)], 1.0)
    elif step == "again":
        journal.again([KEY])
    elif step == "settle" and state == "queued":
        journal.settle([KEY], 1.0)
    elif step == "begin":
        journal.begin(1.0, 1.0, 0.0)


FIRST_FORMAT = """
CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE folder (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE);
CREATE TABLE file (
  folder INTEGER NOT NULL REFERENCES folder (id), name BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, state TEXT NOT NULL, notice TEXT NOT NULL, since REAL NOT NULL,
  due REAL NOT NULL, reason TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, tried REAL,
  again INTEGER NOT NULL DEFAULT 0, checksum TEXT, tag TEXT NOT NULL DEFAULT '', PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE INDEX file_queued ON file (due) WHERE state = 'queued';
CREATE INDEX file_settling ON file (due) WHERE state = 'settling';
CREATE TRIGGER file_moves BEFORE UPDATE OF state ON file WHEN 0 BEGIN SELECT RAISE(ABORT, 'no'); END;
INSERT INTO folder VALUES (1, x'');
INSERT INTO file (folder, name, size, mtime_ns, ctime_ns, inode, state, notice, since, due, reason)
VALUES (1, x'61', 5, 1, 1, 1, 'delivered', 'closed', 0, 0, '');
PRAGMA user_version = 1;
"""


def test_a_journal_of_the_first_format_is_taken_over_with_all_it_knows(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as sql:
        sql.executescript(FIRST_FORMAT)
    with closing(Journal(path)) as journal, journal.transaction():
        assert journal.rows("")["a"].state == "delivered"
        journal.post([b"1"])
    Journal(path).close()


def test_how_it_stands_tells_what_is_tried_again_when_and_why(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(Journal(path)) as journal:
        with journal.transaction():
            journal.prepare(PLAIN, leaving=False)
        keys = [Key("", name) for name in "abcde"]
        put(journal, *(sighting("queued", key) for key in keys[:3]), sighting("refused", keys[3]))
        put(journal, sighting("settling", keys[4]))
        with journal.transaction():
            journal.send(dict.fromkeys(keys[:2]))
            journal.end([Ended(keys[0], "queued", "no room", 90.0, 2, 1.0), Ended(keys[1], "failed", "bad")], 1.0)
            journal.post([b"{}"])
        found = journal.standing(50.0)
        assert (found.queued, found.retrying, found.reason, found.next_try) == (2, 1, "no room", 90.0)
        assert (found.settling, found.trouble, found.to_announce) == (1, 2, 1)
    assert standing(path, 50.0) == found
    assert standing(tmp_path / "none.sqlite", 50.0).queued == 0
