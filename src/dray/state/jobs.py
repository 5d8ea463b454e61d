"""Queries on jobs: add, claim a fair share, renew, settle, rescue."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Select,
    Subquery,
    bindparam,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from dray.model.queue import Settlement, Task, Work, decode, encode
from dray.model.values import Value
from dray.state.given import IDS, Given, Row, ids
from dray.state.inserting import insert_once
from dray.state.schema import jobs
from dray.state.transition import Change, Setting, move

# Written out, so that the partial index serves.
OPEN = text("jobs.state IN ('waiting', 'running')")

WEIGHTS = {"verify": 4, "scrub": 1, "sweep": 1}
"""How many jobs of a kind are begun for one of another: somebody waits for a verdict."""

JUMP = 60.0
"""A job written further than this in the future was written before the clock was set back: it is due."""

LONGEST_PAUSE = 60.0


class Job(Value, frozen=True):
    """One job as it is now."""

    id: int
    kind: str
    state: str
    task: str
    attempt: int
    run_at: float
    reason: str
    created: float
    updated: float


def now_of(connection: Connection, now: float) -> float:
    """Return the time that leases are measured by: the database's own, where several machines share it."""
    if connection.dialect.name != "postgresql":
        return now
    return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


def add(connection: Connection, task: Task, lane: str, now: float, reason: str) -> int:
    """Add a job that is due now; jobs of one ``lane`` share the workers evenly with those of any other."""
    new = _new(connection, task, lane, now, reason)
    return int(connection.execute(insert(jobs).values(new).returning(jobs.c.id)).scalar_one())


def add_once(connection: Connection, task: Task, now: float, reason: str) -> None:
    """Add a recurring job unless it is there."""
    insert_once(connection, jobs, _new(connection, task, "system", now, reason))


def _new(connection: Connection, task: Task, lane: str, now: float, reason: str) -> dict[str, Any]:
    moment = now_of(connection, now)
    kind = str(type(task).__struct_config__.tag)
    return {
        "kind": kind,
        "state": "waiting",
        "lane": lane,
        "weight": WEIGHTS[kind],
        "task": encode(task),
        "holder": "",
        "attempt": 0,
        "failures": 0,
        "lease_until": 0.0,
        "run_at": moment,
        "reason": reason,
        "created": moment,
        "updated": moment,
    }


class Holder(Value, frozen=True):
    """Who claims jobs, for how many seconds at a time."""

    name: str
    lease: float


CLAIM = Setting(Given(id=int, holder=str, lease_until=float, attempt=int, reason=str))


def claim(connection: Connection, holder: Holder, limit: int, now: float) -> list[Work]:
    """Take due jobs, evenly from all lanes; nobody else gets them while the lease is renewed."""
    moment = now_of(connection, now)
    found = {row.id: row for row in connection.execute(_due(), {"now": moment, "limit": limit, "most": 4 * limit})}
    lease: Row = {"holder": holder.name, "lease_until": moment + holder.lease, "reason": ""}
    values: dict[int, Row] = {key: {**lease, "attempt": row.attempt + 1} for key, row in found.items()}
    moved = move(connection, Change("job", ("waiting",), "running", moment, holder.name, told=False), CLAIM, values)
    return [
        Work(row.id, row.attempt + 1, decode(row.task), row.failures, row.first_failed_at)
        for key, row in found.items()
        if key in moved
    ]


def any_due(connection: Connection, now: float, leases: bool) -> bool:
    """Say whether a claim would find anything (a lease that ran out is counted if asked): a look costs no commit."""
    moment = now_of(connection, now)
    due: ColumnElement[bool] = (jobs.c.state == "waiting") & or_(
        jobs.c.run_at <= moment, jobs.c.updated > moment + JUMP
    )
    if leases:
        due = or_(due, (jobs.c.state == "running") & (jobs.c.lease_until < moment))
    return connection.execute(select(jobs.c.id).where(OPEN, due).limit(1)).first() is not None


@lru_cache
def _due() -> Select[Any]:
    """Due jobs in the order of fairness: a lane's next job counts the ones it has running already."""
    now = bindparam("now", type_=Double)
    nth = func.row_number().over(partition_by=jobs.c.lane, order_by=[jobs.c.run_at, jobs.c.id])
    waiting = select(jobs.c.id, jobs.c.lane, jobs.c.weight, jobs.c.run_at, nth.label("nth")).where(
        OPEN, jobs.c.state == "waiting", or_(jobs.c.run_at <= now, jobs.c.updated > now + JUMP)
    )
    ranked = waiting.subquery("ranked")
    running = select(jobs.c.lane, func.count().label("number")).where(OPEN, jobs.c.state == "running")
    busy = running.group_by(jobs.c.lane).subquery("busy")
    turn = (ranked.c.nth + func.coalesce(busy.c.number, 0)) / cast(ranked.c.weight, Double)
    order = [turn, ranked.c.run_at, ranked.c.id]
    # More than wanted, since others may be taking the first ones right now.
    best = select(ranked.c.id, turn.label("turn")).outerjoin(busy, busy.c.lane == ranked.c.lane).order_by(*order)
    chosen = best.limit(bindparam("most")).subquery("chosen")
    wanted = select(jobs).join(chosen, chosen.c.id == jobs.c.id).where(jobs.c.state == "waiting")
    locked = wanted.with_for_update(of=jobs, skip_locked=True)
    return locked.order_by(chosen.c.turn, jobs.c.run_at, jobs.c.id).limit(bindparam("limit"))


HELD = Given(id=int, attempt=int)


def renew(connection: Connection, works: Iterable[Work], lease: float, now: float) -> set[int]:
    """Hold claims for another lease; return the jobs that are still held."""
    values: list[Row] = [{"id": work.job, "attempt": work.attempt} for work in works]
    until = now_of(connection, now) + lease
    return set(connection.execute(_renew(HELD.table(connection)), HELD.rows(values) | {"until": until}).scalars())


@lru_cache
def _renew(given: Subquery) -> ReturningUpdate[int]:
    """Move the end of the lease of jobs that still run under this attempt."""
    mine = [jobs.c.id == given.c.id, jobs.c.attempt == given.c.attempt, jobs.c.state == "running"]
    return update(jobs).where(*mine).values(lease_until=bindparam("until", type_=Double)).returning(jobs.c.id)


STEP = Setting(
    Given(id=int, attempt=int, reason=str, run_at=float, failures=int, first_failed_at=float, task=str),
    match=("attempt",),
)


def settle(connection: Connection, settlements: Iterable[Settlement], holder: str, now: float) -> set[int]:
    """Record how steps ended; return the jobs whose claim was still held."""
    moment = now_of(connection, now)
    mine = jobs.c.id.in_(select(IDS.table(connection).c.id))
    by_job = {one.job: one for one in settlements}
    found = {row.id: row for row in connection.execute(select(jobs).where(mine).with_for_update(), ids(by_job))}
    groups: dict[tuple[str, bool], dict[int, Row]] = defaultdict(dict)
    for key, row in found.items():
        groups[by_job[key].state, by_job[key].failed][key] = _step(by_job[key], row, moment)
    moved: set[int] = set()
    for (state, failed), values in groups.items():
        change = Change("job", ("running",), state, moment, holder, told=failed or state == "dead")
        moved |= move(connection, change, STEP, values)
    return moved


def _step(settlement: Settlement, row: Any, moment: float) -> Row:
    return {
        "attempt": settlement.attempt,
        "reason": settlement.reason,
        "run_at": moment + settlement.delay,
        "failures": row.failures + 1 if settlement.failed else 0,
        "first_failed_at": (row.first_failed_at or moment) if settlement.failed else None,
        "task": encode(settlement.task) if settlement.task else row.task,
    }


def rescue(connection: Connection, now: float, everything: bool = False) -> int:
    """Make jobs due again whose lease ran out (or all that run); return how many.

    One that ends its worker again and again comes back later each time.
    """
    moment = now_of(connection, now)
    statement = select(jobs).where(OPEN, jobs.c.state == "running").with_for_update(skip_locked=True)
    statement = statement if everything else statement.where(jobs.c.lease_until < moment)
    values = {row.id: _rescued(row, moment) for row in connection.execute(statement)}
    return len(move(connection, Change("job", ("running",), "waiting", moment, "rescue"), STEP, values))


def _rescued(row: Any, moment: float) -> Row:
    pause = min(2.0**row.failures, LONGEST_PAUSE) if row.failures else 0.0
    return {
        "attempt": row.attempt,
        "reason": "the worker that had it stopped; it is taken up again",
        "run_at": moment + pause,
        "failures": row.failures + 1,
        "first_failed_at": row.first_failed_at or moment,
        "task": row.task,
    }


def hurry(connection: Connection, kind: str, now: float) -> None:
    """Make the waiting jobs of a kind due now."""
    mine = update(jobs).where(OPEN, jobs.c.kind == kind, jobs.c.state == "waiting")
    connection.execute(mine.values(run_at=now_of(connection, now)))


def get(connection: Connection, job: int) -> Job | None:
    """Return one job."""
    row = connection.execute(_jobs().where(jobs.c.id == job)).first()
    return Job(*row) if row else None


def unfinished(connection: Connection, kind: str) -> list[Job]:
    """Return the jobs of a kind that have not ended, the oldest first."""
    statement = _jobs().where(OPEN, jobs.c.kind == kind).order_by(jobs.c.id)
    return [Job(*row) for row in connection.execute(statement)]


@lru_cache
def _jobs() -> Select[Any]:
    j = jobs.c
    return select(j.id, j.kind, j.state, j.task, j.attempt, j.run_at, j.reason, j.created, j.updated)


class Load(Value, frozen=True):
    """How much work there is, recurring work apart; ``next`` is the waiting job that is tried first."""

    counts: Mapping[str, int]
    oldest: float | None
    next: Job | None


def load(connection: Connection) -> Load:
    """Return how much work there is."""
    work = jobs.c.kind != "sweep"
    counted = select(jobs.c.state, func.count(), func.min(jobs.c.created)).where(work, jobs.c.state != "done")
    rows = connection.execute(counted.group_by(jobs.c.state)).all()
    oldest = min((row[2] for row in rows if row[0] != "dead"), default=None)
    waiting = _jobs().where(OPEN, work, jobs.c.state == "waiting").order_by(jobs.c.run_at, jobs.c.id).limit(1)
    first = connection.execute(waiting).first()
    return Load({row[0]: row[1] for row in rows}, oldest, Job(*first) if first else None)


def prune(connection: Connection, done_before: float, dead_before: float) -> int:
    """Delete jobs that ended long ago; return how many."""
    ended = or_(
        (jobs.c.state == "done") & (jobs.c.updated < done_before),
        (jobs.c.state == "dead") & (jobs.c.updated < dead_before),
    )
    return int(connection.execute(delete(jobs).where(ended)).rowcount)
