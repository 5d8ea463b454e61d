"""Failures of the two databases, translated once into the error tree."""

from sqlalchemy.exc import DBAPIError, OperationalError

from dray.errors import Busy, DrayError, Forbidden, NoSpace, Permanent, Temporary, Unreachable

Meaning = tuple[type[DrayError], str]

SQLITE: dict[int, Meaning] = {
    3: (Forbidden, "the database file may not be opened"),
    5: (Busy, "another program has locked the database file"),
    6: (Busy, "another program has locked the database file"),
    8: (Forbidden, "the database file may not be written"),
    10: (Temporary, "the disk of the database reports an input/output error"),
    # SQLite also says so when its disk could not be read once (SQLITE_IOERR_CORRUPTFS), which no file is to blame for.
    11: (Temporary, "the database file is damaged or cannot be read"),
    13: (NoSpace, "the disk of the database is full"),
    14: (Forbidden, "the database file cannot be opened"),
    26: (Permanent, "this is not a database file"),
}
"""By primary result code (https://www.sqlite.org/rescode.html)."""

POSTGRES: dict[str, Meaning] = {
    "08": (Unreachable, "the connection to the database broke"),
    "28": (Permanent, "the database refuses this user or password"),
    "3D": (Permanent, "there is no such database"),
    "40": (Busy, "the database could not order this among other changes"),
    "42501": (Permanent, "the database user may not do this"),
    "53": (Temporary, "the database is short of resources"),
    "53100": (NoSpace, "the disk of the database is full"),
    "53300": (Busy, "the database takes no more connections"),
    "55": (Busy, "something in the database is locked"),
    "57": (Unreachable, "the database is stopping or starting"),
    "57014": (Temporary, "the database took too long"),
    "58": (Temporary, "the database server reports a system error"),
}
"""By SQLSTATE or its class (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

AGAIN = ("40001", "40P01")
"""Serialisation failure and deadlock: the transaction did nothing and is run again."""

LOST = ("08000", "08003", "08006", "57P01", "57P02", "57P03", "57P05")
"""The server ended the connection or does not take one yet."""


def translate(error: Exception) -> Exception:
    """Return the DrayError that ``error`` means, or ``error`` itself when it is none of the database's moods."""
    meaning = _meaning(error) if isinstance(error, DBAPIError) else None
    if meaning is None:
        return error
    kind, message = meaning
    return kind(message, item="database", hint="it is tried again" if kind.retry == "later" else "")


def sqlstate(error: DBAPIError) -> str:
    """Return PostgreSQL's code, or nothing when the server said nothing."""
    return getattr(error.orig, "sqlstate", None) or ""


def disconnected(error: DBAPIError) -> bool:
    """Say whether the connection is gone, so that nobody knows what a COMMIT under way did."""
    silent = type(error) is OperationalError and not sqlstate(error)
    return error.connection_invalidated or silent or sqlstate(error)[:5] in LOST


def _meaning(error: DBAPIError) -> Meaning | None:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return SQLITE.get(code & 0xFF)
    state = sqlstate(error)
    found = POSTGRES.get(state) or POSTGRES.get(state[:2])
    return found or ((Unreachable, "the database does not answer") if disconnected(error) else None)
