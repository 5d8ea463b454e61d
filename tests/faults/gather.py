"""Puts the evidence together: what was written, shown and said, then what is stored."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tests.faults.ledger import Ledger
from tests.faults.oracle import Evidence, Said
from tests.faults.store import Store
from tests.faults.surfaces import Surfaces


def shown(ledger: Ledger, surfaces: Surfaces, said: Sequence[Said], wanted: Iterable[str]) -> Evidence:
    """Gather what a running server shows at rest; ``wanted`` are the keys whose newest version has to be there."""
    events = surfaces.all_events()
    return Evidence(
        written=ledger.versions(),
        shown=surfaces.files(),
        uploads=surfaces.uploads(event.upload for event in events if event.upload),
        said=list(said),
        accepted=[event.upload or 0 for event in events if event.kind == "upload.accepted"],
        wanted=frozenset(wanted),
    )


def stored(evidence: Evidence, store: Store) -> Evidence:
    """Add what is on the disk now."""
    return replace(evidence, stored=store.stored(), staged=store.staged())


def about(evidence: Evidence, dataset: str) -> Evidence:
    """Keep what concerns one dataset; staging is shared by all and left out."""
    begin = f"{dataset}/"
    return replace(
        evidence,
        written=[version for version in evidence.written if version.key.startswith(begin)],
        stored=[one for one in evidence.stored if one.key.startswith(begin) and not one.kept],
        shown=[row for row in evidence.shown if row.key.startswith(begin)],
        uploads=[upload for upload in evidence.uploads if upload.key.startswith(begin)],
        said=[said for said in evidence.said if said.key.startswith(begin)],
        staged=[],
    )
