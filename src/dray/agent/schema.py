"""The tables and statements of a journal; which state may follow which comes from dray/model/states.py."""

from dray.model.states import SIGHTING

FORMAT = 2
"""Raised when the tables change."""

FAR = 1e18
"""``due`` of a settling file that nothing but an event or a rescan wakes."""


def _quoted(states: tuple[str, ...]) -> str:
    return ",".join(f"'{state}'" for state in states)


def _forbidden() -> str:
    allowed = (f"(OLD.state='{before}' AND NEW.state IN ({_quoted(after)}))" for before, after in SIGHTING.items())
    return f"OLD.state <> NEW.state AND NOT ({' OR '.join(allowed)})"


# What came with the second format: names at the destination that differ, and what is to be announced.
_SECOND = f"""
CREATE INDEX file_target ON file (target) WHERE target IS NOT NULL;
CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
DROP TRIGGER IF EXISTS file_moves;
CREATE TRIGGER file_moves BEFORE UPDATE OF state ON file WHEN {_forbidden()}
BEGIN SELECT RAISE(ABORT, 'a file of a hot directory cannot change its state so'); END;
"""

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE folder (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE);
CREATE TABLE file (
  folder INTEGER NOT NULL REFERENCES folder (id),
  name BLOB NOT NULL,
  size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL,
  inode INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ({_quoted(tuple(SIGHTING))})),
  notice TEXT NOT NULL CHECK (notice IN ('renamed', 'closed', 'found')),
  since REAL NOT NULL,
  due REAL NOT NULL,
  reason TEXT NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  tried REAL,
  again INTEGER NOT NULL DEFAULT 0,
  checksum TEXT,
  tag TEXT NOT NULL DEFAULT '',
  target BLOB,
  PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE INDEX file_queued ON file (due) WHERE state = 'queued';
CREATE INDEX file_settling ON file (due) WHERE state = 'settling';
{_SECOND}
PRAGMA user_version = {FORMAT};
COMMIT;
"""

UPGRADE = f"""
BEGIN IMMEDIATE;
ALTER TABLE file ADD COLUMN target BLOB;
{_SECOND}
PRAGMA user_version = {FORMAT};
COMMIT;
"""

ORDERS = {
    "newest": "CREATE INDEX IF NOT EXISTS file_newest ON file (mtime_ns DESC, due) WHERE state = 'queued'",
    "smallest": "CREATE INDEX IF NOT EXISTS file_smallest ON file (size, due) WHERE state = 'queued'",
}
"""Indexes that only an order other than that of noticing needs."""

TROUBLE = "CREATE INDEX IF NOT EXISTS file_trouble ON file (state) WHERE state IN ('failed', 'refused')"
REMOVALS = "CREATE INDEX IF NOT EXISTS file_removals ON file (tag) WHERE state = 'queued' AND tag = 'deleted'"
RENAMES = "CREATE INDEX IF NOT EXISTS file_inode ON file (inode) WHERE checksum IS NOT NULL"
LEAVING = "CREATE INDEX IF NOT EXISTS file_delivered ON file (due) WHERE state = 'delivered'"

RESUME = (
    # Sendings were cut off; what they finished at the destination is answered as done when it is sent again.
    "UPDATE file SET state='queued', again=0, reason='was interrupted' WHERE state='sending'",
    # A new run is a new try for what failed for good.
    "UPDATE file SET state='queued', attempt=0, tried=NULL WHERE state='failed'",
    "UPDATE file SET due=:wall WHERE state='queued' AND due > :wall",
    # Monotonic time begins anew with each run.
    "UPDATE file SET since=:mono, due=:mono WHERE state='settling'",
    # What has been gone for long is forgotten.
    "DELETE FROM file WHERE state='gone' AND due < :forget",
    "DELETE FROM folder WHERE NOT EXISTS (SELECT 1 FROM file WHERE file.folder = folder.id)",
)

# What is known of the names of one folder.
ROWS = """
SELECT name, size, mtime_ns, ctime_ns, inode, state, notice, since
FROM file WHERE folder = (SELECT id FROM folder WHERE path = ?)"""

# What is known of one name.
ROW = """
SELECT name, size, mtime_ns, ctime_ns, inode, state, notice, since
FROM file WHERE folder = (SELECT id FROM folder WHERE path = ?) AND name = ?"""

FOLDERS = "SELECT path FROM folder"
ADD_FOLDER = "INSERT OR IGNORE INTO folder (path) VALUES (?)"

# What a look found takes the place of what was known; a new version has no attempts behind it.
PUT = """
INSERT INTO file (folder, name, size, mtime_ns, ctime_ns, inode, state, notice, since, due, reason)
VALUES ((SELECT id FROM folder WHERE path = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  size=excluded.size, mtime_ns=excluded.mtime_ns, ctime_ns=excluded.ctime_ns, inode=excluded.inode,
  state=excluded.state, notice=excluded.notice, since=excluded.since, due=excluded.due, reason=excluded.reason,
  attempt=0, tried=NULL, again=0"""

# A file changed while it was on its way.
AGAIN = """
UPDATE file SET again=1
WHERE folder = (SELECT id FROM folder WHERE path = ?) AND name = ? AND state = 'sending'"""

# A name that was not to be sent and is not there any more.
FORGET = """
DELETE FROM file
WHERE folder = (SELECT id FROM folder WHERE path = ?) AND name = ? AND state IN ('skipped', 'refused')"""

# A file that is not there any more; the sending of one that is on its way ends by itself.
VANISH = """
UPDATE file SET due = ?, state = 'gone',
  reason = iif(state = 'delivered', 'deleted after it was delivered', 'deleted before it was delivered')
WHERE folder = (SELECT id FROM folder WHERE path = ?) AND name = ? AND state NOT IN ('gone', 'sending')"""

# A file that is not there any more, whose deletion is to be forwarded; what never arrived needs none.
UNDELIVER = """
UPDATE file SET due = :now, state = 'queued', reason = 'was deleted here', tag = 'deleted', attempt = 0, tried = NULL
WHERE folder = (SELECT id FROM folder WHERE path = :path) AND name = :name AND checksum IS NOT NULL
  AND state NOT IN ('gone', 'sending') AND NOT (state = 'queued' AND tag = 'deleted')"""

# Deletions that wait to be forwarded.
COUNT_REMOVALS = "SELECT count(*) FROM file INDEXED BY file_removals WHERE state = 'queued' AND tag = 'deleted'"

# Somebody says that a name was deleted, whatever is known of it here.
TOLD_GONE = """
INSERT INTO file (folder, name, size, mtime_ns, ctime_ns, inode, state, notice, since, due, reason, checksum, tag)
VALUES ((SELECT id FROM folder WHERE path = :path), :name, 0, 0, 0, 0, 'queued', 'found', 0, :now,
  'was deleted here', 'told', 'deleted')
ON CONFLICT DO UPDATE SET state = 'queued', due = :now, reason = 'was deleted here', tag = 'deleted',
  checksum = coalesce(checksum, 'told') WHERE state <> 'sending'"""

# Who has a name at the destination already.
HOLDER = """
SELECT path, name FROM file INDEXED BY file_target JOIN folder ON folder.id = file.folder
WHERE target = :target AND state IN ('queued', 'sending', 'delivered')
  AND NOT (path = :path AND name = :name) LIMIT 1"""

# Where this very content was delivered from before.
BEFORE = """
SELECT path, name FROM file INDEXED BY file_inode JOIN folder ON folder.id = file.folder
WHERE inode = ? AND size = ? AND mtime_ns = ? AND checksum IS NOT NULL AND state IN ('delivered', 'queued', 'gone')
LIMIT 4"""

# Files that were delivered before some time, to be removed here when they are safe.
DELIVERED = """
SELECT path, name, size, mtime_ns, ctime_ns, inode, attempt, tried, checksum
FROM file INDEXED BY file_delivered JOIN folder ON folder.id = file.folder
WHERE state = 'delivered' AND due <= ? ORDER BY due LIMIT ?"""

# When the first of them was delivered.
FIRST_DELIVERED = "SELECT min(due) FROM file INDEXED BY file_delivered WHERE state = 'delivered'"

# A delivered file that is not safe to remove is looked at again later.
POSTPONE = """
UPDATE file SET due = ? WHERE folder = (SELECT id FROM folder WHERE path = ?) AND name = ? AND state = 'delivered'"""

# A delivered file that was removed here on purpose.
LEFT = """
UPDATE file SET state = 'gone', due = ?, reason = ?
WHERE folder = (SELECT id FROM folder WHERE path = ?) AND name = ? AND state = 'delivered'"""

# The same for files whose deletion is forwarded where there is something to delete.
VANISH_UNSENT = f"{VANISH} AND checksum IS NULL"

# Settling files whose next look is due.
RESTING = """
SELECT path, name FROM file INDEXED BY file_settling JOIN folder ON folder.id = file.folder
WHERE state = 'settling' AND due <= ? ORDER BY due LIMIT ?"""

# Files in or below a folder that wait for a done-file.
WAKE = """
UPDATE file INDEXED BY file_settling SET due = :now WHERE state = 'settling' AND due >= :far AND folder IN
  (SELECT id FROM folder WHERE :folder = x'' OR path = :folder OR substr(path, 1, length(:below)) = :below)"""

_WAITING = """
SELECT path, name, size, mtime_ns, ctime_ns, inode, attempt, tried, checksum
FROM file INDEXED BY file_{} JOIN folder ON folder.id = file.folder
WHERE state = 'queued' AND due <= ? ORDER BY {}"""

# Files whose sending is due, in each order.
WAITING = _WAITING.format("queued", "due")
NEWEST = _WAITING.format("newest", "mtime_ns DESC")
SMALLEST = _WAITING.format("smallest", "size")

# A sending begins; the target is written down where it is not the file's own path.
SEND = """
UPDATE file SET state = 'sending', again = 0, reason = '', target = ?
WHERE folder = (SELECT id FROM folder WHERE path = ?) AND name = ?"""

# A sending ended; a file that changed meanwhile settles again, however it ended.
END = """
UPDATE file SET
  state = iif(again, 'settling', :state), reason = iif(again, 'changed while it was sent', :reason),
  due = iif(again, :mono, :due), since = iif(again, :mono, since), notice = iif(again, 'found', notice), again = 0,
  attempt = :attempt, tried = :tried,
  checksum = iif(:state = 'gone', NULL, coalesce(:checksum, checksum)), tag = iif(:checksum IS NULL, tag, :tag)
WHERE folder = (SELECT id FROM folder WHERE path = :path) AND name = :name AND state = 'sending'"""

# The version that is there is not the one that was queued.
SETTLE = """
UPDATE file SET state = 'settling', since = :mono, due = :mono, notice = 'found', reason = 'changed before it was sent'
WHERE folder = (SELECT id FROM folder WHERE path = :path) AND name = :name"""

# Queued files that a clock since set back would leave waiting for ever.
HURRY = "UPDATE file INDEXED BY file_queued SET due = ? WHERE state = 'queued' AND due > ?"

# When the next files are due, in an order that never looks at more than one row each.
FIRST_DUE = """
SELECT (SELECT min(due) FROM file INDEXED BY file_settling WHERE state = 'settling'),
  (SELECT min(due) FROM file INDEXED BY file_queued WHERE state = 'queued')"""

QUEUED = "SELECT count(*), sum(size) FROM file INDEXED BY file_queued WHERE state = 'queued'"

# How many files are in which state for which reason; the name is that of the row with the lowest folder.
TALLIES = """
SELECT state, reason, files, bytes, path, name FROM
  (SELECT state, reason, count(*) AS files, sum(size) AS bytes, min(folder) AS folder, name FROM file
   GROUP BY state, reason) AS tally
JOIN folder ON folder.id = tally.folder ORDER BY state, files DESC"""

# The files in one state, in the order of their folders.
IN_STATE = """
SELECT path, name, size, mtime_ns, reason
FROM file JOIN folder ON folder.id = file.folder WHERE state = ? ORDER BY path, name"""

# What a status asks again and again, from indexes alone.
STANDING = """
SELECT (SELECT count(*) FROM file INDEXED BY file_settling WHERE state = 'settling'),
  (SELECT count(*) FROM file INDEXED BY file_queued WHERE state = 'queued' AND due > :now),
  (SELECT count(*) FROM file INDEXED BY file_trouble WHERE state IN ('failed', 'refused')),
  (SELECT count(*) FROM outbox)"""
NEXT_RETRY = """
SELECT reason, due FROM file INDEXED BY file_queued WHERE state = 'queued' AND due > ? ORDER BY due LIMIT 1"""

# What is to be announced, in the order in which it arrived.
POST = "INSERT INTO outbox (body) VALUES (?)"
OUTBOX = "SELECT number, body FROM outbox ORDER BY number LIMIT ?"
POSTED = "DELETE FROM outbox WHERE number <= ?"

RECALL = "SELECT value FROM note WHERE name = ?"
FORGET_NOTE = "DELETE FROM note WHERE name = ?"
NOTE = "INSERT OR REPLACE INTO note (name, value) VALUES (?, ?)"
