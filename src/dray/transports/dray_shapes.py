"""Between the shapes on the wire (model/views.py) and the values of the seam."""

from collections.abc import Iterator, Sequence

from dray.errors import Conflict, DrayError, IntegrityFailure, NotFound, Permanent, PieceDamaged, Unverified
from dray.model import views
from dray.model.checksum import Checksum
from dray.model.names import RemotePath, printable
from dray.model.parts import part_count
from dray.model.states import final
from dray.model.values import Claim, Entry, Held, Landing, Proof, Receipt, Ref, Staged, Value
from dray.transports.base import Failure, Piece

View = views.UploadView | DrayError
Views = list[View]


FILE = "@"
"""Begins the refs of files; those of uploads are their number alone."""


def number(ref: Ref) -> int:
    """Return the number of the upload that a ref names, or raise NotFound."""
    return _number(ref, ref)


def file_number(ref: Ref) -> int:
    """Return the number of the file version that a ref of an entry names, or raise NotFound."""
    return _number(ref, ref.removeprefix(FILE) if ref.startswith(FILE) else "")


def is_file(ref: Ref) -> bool:
    """Say whether a ref names a file version."""
    return ref.startswith(FILE) and _is_number(ref[len(FILE) :])


def not_known(ref: Ref) -> NotFound:
    """Return the failure of a ref that is none of this server's."""
    return NotFound("this server has no such thing", item=printable(ref))


def is_below(path: str, prefix: str) -> bool:
    """Say whether ``path`` is ``prefix`` or lies in it; everything lies in the empty one."""
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _number(ref: Ref, digits: str) -> int:
    if not _is_number(digits):
        raise not_known(ref)
    return int(digits)


def _is_number(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) < 16


def file_ref(file: int) -> Ref:
    """Name a file version."""
    return Ref(f"{FILE}{file}")


def stage_file(landing: Landing) -> views.StageFile:
    """Return what the server is asked to stage."""
    return views.StageFile(
        path=str(landing.path),
        size=landing.size,
        version=landing.version,
        source=landing.source,
        checksum=str(landing.checksum) if landing.checksum else None,
        mtime_ns=landing.mtime_ns,
        on_exists=landing.on_exists,
    )


def staged_of(landing: Landing, upload: views.StagedUpload) -> Staged:
    """Return the server's answer to a landing; one that came whole before a crash waits for its verdict only."""
    return Staged(
        ref=Ref(str(upload.upload or "")),
        path=landing.path,
        size=landing.size,
        part_size=upload.part_size,
        held=tuple(Held(h.number, h.offset, h.length, int(h.crc32c, 16)) for h in upload.held),
        done=upload.done or upload.state == "uploaded",
        hash_first=upload.hash_first,
    )


def receipt_of(piece: Piece, crc32c: int, answer: views.PartReceipt | DrayError) -> Receipt | Failure:
    """Return the receipt of a piece, or a failure when the server took other bytes than were meant."""
    if isinstance(answer, DrayError):
        return answer
    if (answer.length, answer.crc32c) != (piece.at.length, f"{crc32c:08x}"):
        return PieceDamaged(f"the server received {answer.length} bytes with crc32c {answer.crc32c}")
    return Receipt(piece.ref, piece.number, answer.length, crc32c, answer.level)


def complete_item(claim: Claim) -> views.CompleteItem:
    """Return what the server is told of a whole file."""
    return views.CompleteItem(upload=number(claim.ref), size=claim.size, checksum=str(claim.checksum))


def open_uploads(answers: Sequence[View]) -> dict[int, int]:
    """Return the numbers of the uploads that have no verdict yet, by their place among the answers."""
    views_of = ((index, answer) for index, answer in enumerate(answers) if isinstance(answer, views.UploadView))
    return {index: view.upload for index, view in views_of if not final("upload", view.state)}


class Plan(Value, frozen=True):
    """What the server planned for an upload."""

    path: RemotePath
    size: int
    part_size: int
    held: frozenset[int] = frozenset()
    mtime_ns: int | None = None

    def has(self, piece: Piece) -> bool:
        """Say whether ``piece`` is one of the parts, or the whole file."""
        if piece.number == 1 and piece.offset == 0 and piece.at.length == self.size:
            return True
        left = self.size - piece.offset
        return piece.offset == (piece.number - 1) * self.part_size and piece.at.length == min(self.part_size, left)

    def takes_whole(self, piece: Piece) -> bool:
        """Say whether ``piece`` is the whole file and that is one piece for the server too."""
        return piece.at.length == self.size <= self.part_size

    def ahead(self, part: int, most: int) -> Iterator[int]:
        """Yield the numbers of the parts after ``part`` that are likely to be sent next."""
        last = min(part + most, part_count(self.size, self.part_size))
        return (n for n in range(part + 1, last + 1) if n not in self.held)


def plan_of(landing: Landing, staged: Staged) -> Plan:
    """Return what the server answered to a landing."""
    held = frozenset(held.number for held in staged.held)
    return Plan(landing.path, landing.size, staged.part_size, held, landing.mtime_ns)


def judged(ref: Ref, view: View, plan: Plan | None) -> tuple[Proof, Entry] | Failure:
    """Return what the server found and published, or why there is nothing to prove."""
    if isinstance(view, DrayError):
        return view
    if view.state == "accepted" and view.proof is not None:
        proof = view.proof
        checksum = Checksum.parse(proof.checksum)
        entry = _entry(view, checksum, plan)
        return Proof(ref, proof.size, checksum, proof.tag, proof.by, proof.level), entry
    if not final("upload", view.state):
        hint = "`dray safe` tells when it is"
        return Unverified(f"sent, but not verified yet: {view.reason or 'the server has not come to it'}", hint=hint)
    kind = _ENDED.get(view.state, Conflict)
    return kind(f"the upload is {view.state}: {view.reason}", hint="run the same command again to send it anew")


def _entry(view: views.UploadView, checksum: Checksum, plan: Plan | None) -> Entry:
    path, mtime_ns = (plan.path, plan.mtime_ns) if plan else (RemotePath(view.path), None)
    mtime_ns = round(view.updated * 1e9) if mtime_ns is None else mtime_ns
    return Entry(path, view.size, mtime_ns, checksum, str(view.file), view.version_number, file_ref(view.file))


_ENDED: dict[str, type[DrayError]] = {"rejected": IntegrityFailure, "failed": Permanent}


def not_gone(view: View) -> Failure | None:
    """Return why an upload still holds something after it was cancelled, or None."""
    if isinstance(view, DrayError):
        return None if isinstance(view, NotFound) else view
    return Conflict("it is accepted and published already", item=view.path) if view.state == "accepted" else None


def entry_of_file(view: views.FileView) -> Entry:
    """Return a file of the catalogue; its tag is its number, which stands for this very version."""
    checksum = Checksum.parse(view.checksum) if view.checksum else None
    mtime_ns = view.mtime_ns if view.mtime_ns is not None else round((view.published or view.created) * 1e9)
    tag, ref = str(view.file), file_ref(view.file)
    return Entry(RemotePath(view.path), view.size, mtime_ns, checksum, tag, view.version_number, ref)


def proof_of_file(ref: Ref, view: views.FileView) -> Proof | Failure:
    """Return what was found when the stored bytes of a file were read last."""
    good = next((copy for copy in view.copies if copy.state == "verified"), None)
    if good is None or view.checksum is None:
        return NotFound("no verified copy of this file is there", item=view.path)
    return Proof(ref, view.size, Checksum.parse(view.checksum), good.tag, good.verified_by, good.level)
