"""The pure decisions that say whether bytes arrived and whether a source may be deleted."""

from dray.errors import IntegrityFailure
from dray.model.values import Claim, Proof


def compare(claim: Claim, proof: Proof) -> IntegrityFailure | None:
    """Return None when the proof bears out the claim, else the failure that says how they differ."""
    if claim.size != proof.size:
        return IntegrityFailure(
            f"{proof.size} bytes are stored, {claim.size} were sent", hint="run the same command again to send it anew"
        )
    if claim.checksum != proof.checksum:
        return IntegrityFailure(
            f"stored bytes have {proof.checksum}, the source had {claim.checksum}",
            hint="nothing was published; run the same command again to send it anew",
        )
    return None
