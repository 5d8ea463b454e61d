"""R11: one bit or byte changed on the way, of a file or of what is said about it; the receiver refuses it."""

from random import Random

from tests.faults.hand import Content, Hand
from tests.faults.link import Link, link_to
from tests.faults.plan import Plan, Row
from tests.faults.rig import DATASET, Rig, rig_in
from tests.faults.surfaces import Surfaces

PART = 64 << 10
SETTINGS = {"DRAY_LIMITS_PART_SIZE": "64KiB"}
BY_CLIENT = 3
"""Every so many tries go through the real client, which sends again by itself; the others look at the answer."""
TEMPORARY = 5
DOCUMENTS = 1500
"""Bytes of documents, in either direction, within which a flip hits one that matters."""
TARGETS = (("up", "files"), ("up", "documents"), ("down", "documents"))


def run(plan: Plan) -> None:
    """Flip bytes of uploads made by hand, then of uploads of the real client."""
    chance = plan.chance("flips")
    by_client = -(-plan.count // BY_CLIENT)
    with plan.room("all") as base, rig_in(base, SETTINGS) as rig:
        rig.server.start()
        rig.watch()
        with link_to(base, rig.server.port) as link:
            hand = Hand(Surfaces(link.url, rig.server.token), rig.store, DATASET)
            for number in range(plan.count - by_client):
                by_hand(plan, rig, link, hand, Random(f"{chance.random()}/{number}"))
            sent_by_client(plan, rig, link, chance, by_client)
        rig.said += hand.said
        rig.unwatch()
        rig.reap()
        plan.blame(rig.judge())


def flip(link: Link, chance: Random, size: int, way: str = "up", body: str = "files") -> int:
    """Order one flip among the next ``size`` bytes of a kind; return how many flips had fired before."""
    mask = chance.choice([1 << chance.randrange(8), chance.randrange(1, 256)])
    return len(link.order("flip", way=way, after=chance.randrange(size), mask=mask, body=body)["fired"])


def by_hand(plan: Plan, rig: Rig, link: Link, hand: Hand, chance: Random) -> None:
    """Send one file with a flipped byte: the answer must be a refusal; sent again, it must arrive."""
    number = len(plan.tries)
    size = chance.choice([chance.randrange(1, PART), chance.randrange(PART + 1, 3 * PART)])
    content = Content(f"hand/{number}.bin", chance.randbytes(size))
    rig.ledger.note(f"{DATASET}/{content.path}", size, content.checksum.removeprefix("sha256:"))
    before = flip(link, chance, size)
    hand.problems.clear()
    (upload,) = hand.stage([content])
    if size <= PART:
        hand.bundle([(content, upload)])
    else:
        hand.parts(content, upload)
    refused = list(hand.problems)
    fired = link.fired[before:]
    findings = [] if [r.partition(":")[0] for r in refused] == ["piece-damaged"] else [f"not refused: {refused}"]
    views = hand.upload([content])
    findings += [f"did not arrive when it was sent again: {view}" for view in views if view.get("state") != "accepted"]
    plan.record(f"{size} bytes by hand", fired[0] if fired else None, findings)


def sent_by_client(plan: Plan, rig: Rig, link: Link, chance: Random, count: int) -> None:
    """Flip bytes of trees that the real client sends, one a tree; it must end well."""
    for number in range(count):
        for index in range(6):
            rig.writer.write(f"client/{number}/{index}.bin", chance.randbytes(chance.randrange(1, 3 * PART)))
        sizes = [v.size for v in rig.ledger.versions() if v.key.startswith(f"{DATASET}/client/{number}/")]
        way, body = TARGETS[number % len(TARGETS)]
        before = flip(link, chance, sum(sizes) if body == "files" else DOCUMENTS, way, body)
        client = rig.client("upload", f"{rig.source}/client/{number}", f"{link.url}/{DATASET}/client", url=link.url)
        code = client.wait(120)
        if code == TEMPORARY:  # the very first answer was damaged: nothing had begun, the user is told to try again
            client = rig.client(*client.command[1:], url=link.url)
            code = client.wait(120)
        fired = link.fired[before:]
        findings = [] if code == 0 else [f"upload ended with {code}: {client.tail(500)}"]
        plan.record(f"{way} {body} of dray upload", fired[0] if fired else None, findings)


ROW = Row(
    id="R11",
    title="one bit or byte of a file, or of what is said about it, changed on the way",
    must="100 % refused, sent again, C0",
    run=run,
    ci=100,
    full=1000,
    slice=4,
)
