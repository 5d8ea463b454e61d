"""Our own server as a place (docs/api.md): staged by batches, sent by dray_bytes, proved by the server's worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from dray.client.api import Api
from dray.client.http import Moved
from dray.clock import Clock
from dray.errors import DrayError, NotFound, Refused
from dray.model import views
from dray.model.names import RemotePath
from dray.model.values import Claim, Entry, Landing, Limits, Proof, Receipt, Ref, Staged, Value
from dray.transports.base import Failure, Piece
from dray.transports.dray_bytes import Fetcher, Lines, Sender
from dray.transports.dray_shapes import (
    Plan,
    View,
    Views,
    complete_item,
    entry_of_file,
    file_number,
    is_below,
    is_file,
    judged,
    not_gone,
    not_known,
    number,
    open_uploads,
    plan_of,
    proof_of_file,
    stage_file,
    staged_of,
)
from dray.transports.together import caught, in_batches, together

WAIT = 20.0
"""Seconds a question for a verdict may stay open."""
PAUSE = 0.2
"""Seconds between two such questions, for a server that is stopping answers at once."""


class DraySettings(Value, frozen=True):
    """Where to and how: ``patience`` is how many seconds the server may take to verify a batch (0: nobody waits)."""

    dataset: str
    create: bool = True
    parallel: int = 4
    patience: float = 600.0


class DrayTransport:
    """One dataset of a Dray server; the connections belong to whoever made the ``Api``."""

    def __init__(self, api: Api, settings: DraySettings, clock: Clock, on_wire: Moved | None = None) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._on_wire = on_wire

    @asynccontextmanager
    async def connect(self) -> "AsyncIterator[DraySession]":
        """Begin a session; what is staged stays for the next one."""
        lines = Lines(self._api, self._settings.parallel, self._clock, self._on_wire)
        yield DraySession(lines, self._settings)


class DraySession:
    """See ``Session``. The server verifies, publishes and records in one go, so ``verify`` waits for its verdict and
    ``publish`` only says what was published. What is published is never removed from here.
    """

    def __init__(self, lines: Lines, settings: DraySettings) -> None:
        self.limits = Limits(piece=lines.api.server.part_size, in_flight=settings.parallel)
        self._api = lines.api
        self._clock = lines.clock
        self._settings = settings
        self._plans: dict[Ref, Plan] = {}
        self._entries: dict[Ref, Entry] = {}
        self._sender = Sender(lines, self._plans)
        self._fetcher = Fetcher(lines)

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """Yield the newest published version of each file; ``prefix`` may be a file itself."""
        query = [("dataset", self._settings.dataset), ("prefix", prefix), ("version", "current")]
        async for view in self._api.files(query):
            if view.published is not None and is_below(view.path, prefix):
                yield entry_of_file(view)

    async def stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        """Register the files and open or resume an upload for each."""
        answers = await in_batches(landings, self._stage)
        for landing, answer in zip(landings, answers, strict=True):
            if isinstance(answer, Staged) and answer.ref:
                self._plans[answer.ref] = plan_of(landing, answer)
        return answers

    async def write(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Send whole files in bundles and parts to their URLs, ``in_flight`` connections at most."""
        unknown = list({piece.ref for piece in pieces} - self._plans.keys())
        learned = await together(caught(self._learn(ref), 1) for ref in unknown)
        failed = {ref: found[0] for ref, found in zip(unknown, learned, strict=True) if isinstance(found[0], DrayError)}
        sent = iter(await self._sender.send([piece for piece in pieces if piece.ref not in failed]))
        return [failed[piece.ref] if piece.ref in failed else next(sent) for piece in pieces]

    async def read(self, pieces: Sequence[Piece]) -> Sequence[Receipt | Failure]:
        """Fetch small whole files in bundles, ranges of others from signed URLs."""
        answers = iter(await self._fetcher.fetch([piece for piece in pieces if is_file(piece.ref)]))
        return [next(answers) if is_file(piece.ref) else not_known(piece.ref) for piece in pieces]

    async def verify(self, claims: Sequence[Claim]) -> Sequence[Proof | Failure]:
        """Hand the claims over and wait for the server's verdict of each; of a file, tell what it is known to be."""
        files = [claim.ref for claim in claims if is_file(claim.ref)]
        proofs = dict(zip(files, await together(self._known(ref) for ref in files), strict=True))
        fresh = [claim for claim in claims if claim.ref not in proofs]
        for claim, answer in zip(fresh, await self._verdicts(await in_batches(fresh, self._complete)), strict=True):
            proofs[claim.ref] = self._proved(claim.ref, answer)
        return [proofs[claim.ref] for claim in claims]

    async def publish(self, staged: Sequence[Ref]) -> Sequence[Entry | Failure]:
        """Say what was published."""
        missing = [ref for ref in staged if ref not in self._entries]
        looked = dict(zip(missing, await in_batches(missing, self._look), strict=True))
        entries = [self._entry(ref, looked[ref]) if ref in looked else self._entries[ref] for ref in staged]
        self._forget(staged)
        return entries

    async def remove(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        """Cancel uploads; one that is gone, or that ended without being accepted, holds nothing."""
        self._forget(refs)
        uploads = [ref for ref in refs if not is_file(ref)]
        answers = dict(zip(uploads, await in_batches(uploads, self._cancel), strict=True))
        kept = Refused("a published file stays", hint="a server keeps what it has verified")
        return [answers.get(ref, kept) for ref in refs]

    def _forget(self, refs: Sequence[Ref]) -> None:
        for ref in refs:
            self._plans.pop(ref, None)
            self._entries.pop(ref, None)

    async def _stage(self, landings: Sequence[Landing]) -> Sequence[Staged | Failure]:
        files = [stage_file(landing) for landing in landings]
        request = views.StageRequest(dataset=self._settings.dataset, files=files, create=self._settings.create)
        answers = await self._api.stage(request)
        return [
            answer if isinstance(answer, DrayError) else staged_of(landing, answer)
            for landing, answer in zip(landings, answers, strict=True)
        ]

    async def _learn(self, ref: Ref) -> Sequence[Plan]:
        """Find out what was planned for an upload that another session staged."""
        (view,) = await self._look([ref])
        if isinstance(view, DrayError):
            raise view
        parts = await self._api.held_parts(number(ref))
        held = frozenset(held.number for held in parts.held)
        self._plans[ref] = Plan(RemotePath(view.path), view.size, parts.part_size, held)
        return [self._plans[ref]]

    async def _complete(self, claims: Sequence[Claim]) -> Views:
        request = views.CompleteRequest(items=[complete_item(claim) for claim in claims])
        return await self._api.complete(request, min(WAIT, self._settings.patience))

    async def _look(self, refs: Sequence[Ref]) -> Views:
        return await self._api.uploads([number(ref) for ref in refs])

    async def _verdicts(self, answers: Views) -> Views:
        """Ask again for uploads without a verdict, until all have one or patience is at its end."""
        until = self._clock.monotonic() + self._settings.patience
        while (waiting := open_uploads(answers)) and self._clock.monotonic() < until:
            await asyncio.sleep(PAUSE)
            fresh = await in_batches(list(waiting.values()), self._wait)
            for index, answer in zip(waiting, fresh, strict=True):
                answers[index] = answer
        return answers

    async def _wait(self, ids: Sequence[int]) -> Views:
        return await self._api.uploads(ids, WAIT)

    def _proved(self, ref: Ref, answer: View) -> Proof | Failure:
        found = judged(ref, answer, self._plans.get(ref))
        if isinstance(found, DrayError):
            return found
        proof, self._entries[ref] = found
        return proof

    def _entry(self, ref: Ref, answer: View) -> Entry | Failure:
        found = judged(ref, answer, self._plans.get(ref))
        return found if isinstance(found, DrayError) else found[1]

    async def _known(self, ref: Ref) -> Proof | Failure:
        try:
            return proof_of_file(ref, (await self._api.file(file_number(ref))).file)
        except NotFound as error:
            return error

    async def _cancel(self, refs: Sequence[Ref]) -> Sequence[Failure | None]:
        request = views.CancelRequest(items=[views.CancelItem(upload=number(ref)) for ref in refs])
        return [not_gone(answer) for answer in await self._api.cancel(request)]
