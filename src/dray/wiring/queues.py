"""What is remembered of queues beside the journal of a hot directory: a name that was chosen, what may be lost."""

import hashlib
import secrets
from contextlib import suppress
from pathlib import Path

from dray.threads import in_thread
from dray.wiring.home import write_new


class QueueNotes:
    """Notes about one queue in small files beside a journal; calls that are not async block."""

    def __init__(self, journal: Path, queue: str = "") -> None:
        digest = hashlib.sha256(queue.encode()).hexdigest()[:8] if queue else ""
        self._name = journal.with_suffix(".queue")
        self._lost = journal.with_suffix(f".lost{digest}")
        self._used = journal.with_suffix(f".used{digest}")

    def name(self, start: str) -> str:
        """Return a name that begins so; it is chosen once."""
        self._write(self._name, f"{start}.{secrets.token_hex(4)}\n")
        return self._name.read_text().strip()

    def is_used(self) -> bool:
        """Say whether the queue was ever there."""
        return self._used.exists()

    async def missing(self) -> None:
        """Note, before the queue is made, that what may have been in it has to be looked for, if it ever was there."""
        await in_thread(None, lambda: self._write(self._lost, "") if self.is_used() else None)

    async def there(self) -> None:
        """Note that the queue is there, and may have something in it."""
        await in_thread(None, self._write, self._used, "")

    async def is_lost(self) -> bool:
        """Say whether that was not done yet."""
        return await in_thread(None, self._lost.exists)

    async def found(self) -> None:
        """Note that it was done."""
        await in_thread(None, lambda: self._lost.unlink(missing_ok=True))

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            write_new(path, text.encode())
