"""R13: 2-8 clients on one upload or one path: wrong parts, wrong claims, cancel and revoke in the middle."""

import threading
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

from tests.faults.clients import start_client
from tests.faults.contest import LOST, PART, Contest, sha
from tests.faults.plan import Plan, Row
from tests.faults.raw import Answer, Slow, crc_of, slow_put
from tests.faults.rig import rig_in
from tests.servers.process import Process

SETTINGS = {"DRAY_LIMITS_PART_SIZE": "64KiB"}
TRIES = 100
"""Tries before one server."""
GONE = 0
REFUSED = (400, 403, 404, 409, 411, 413, 422, 423)


def run(plan: Plan) -> None:
    """Let clients fight until there were enough fights."""
    number = 0
    while len(plan.tries) < plan.count:
        campaign(plan, number, min(TRIES, plan.count - len(plan.tries)))
        number += 1


def campaign(plan: Plan, number: int, tries: int) -> None:
    """Fight for one path after the other, then judge everything."""
    chance = plan.chance("campaign", number)
    kinds = list(SCENARIOS)
    with plan.room(number) as base, rig_in(base, SETTINGS) as rig:
        rig.server.start()
        rig.watch()
        for index in range(tries):
            name = "commands" if index % RARELY == RARELY - 1 else kinds[index % len(kinds)]
            contest = Contest(rig, plan.chance("try", number, index), f"p{index:04}", f"d{index % 7}")
            SCENARIOS.get(name, commands)(contest, chance.randrange(2, 9))
            contest.goes_on()
            plan.record(name, contest.proof(), contest.findings)
        rig.unwatch()
        rig.reap()
        plan.blame(rig.judge(wanted=frozenset()))


def same_bytes(contest: Contest, clients: int) -> None:
    """All send the same parts of one upload in an order of their own, then all complete it."""
    data = contest.content(3 * PART - 100)
    upload = contest.opened(len(data))
    orders = [contest.chance.sample((1, 2, 3), 3) for _ in range(clients)]

    def send(order: list[int]) -> list[Answer]:
        return [put(contest, upload, data, number) for number in order]

    contest.tell("PUT", list(chain(*contest.together(orders, send))), (200, 423))
    for number in (1, 2, 3):
        put(contest, upload, data, number)
    claims = contest.together(range(clients), lambda _: contest.admin.complete({upload: (len(data), sha(data))}, 30))
    contest.tell("complete", claims, (200,))
    contest.expect(len(contest.one_winner([data])) == 1, "S: the same bytes from all were not accepted")


def other_bytes(contest: Contest, clients: int) -> None:
    """All have other bytes for the parts of one upload; whoever is first with a part has it, nobody gets a mix."""
    offered = [contest.content(3 * PART - 100) for _ in range(clients)]
    upload = contest.opened(3 * PART - 100)

    def send(data: bytes) -> list[Answer]:
        numbers = contest.chance.sample((1, 2, 3), 3)
        sent = [put(contest, upload, data, number) for number in numbers]
        return [*sent, *as_answers(contest.admin.complete({upload: (len(data), sha(data))}))]

    contest.tell("PUT and complete", list(chain(*contest.together(offered, send))), (200, *LOST))
    contest.one_winner(offered)


def put(contest: Contest, upload: int, data: bytes, number: int) -> Answer:
    """PUT one part; where there is no address any more, that is the answer."""
    url = contest.admin.url(upload, number)
    return contest.admin.put(url, part(data, number)) if url else Answer(409)


def small_bytes(contest: Contest, clients: int) -> None:
    """All have other bytes for a file of one piece, half sent before the first is through; then all claim theirs."""
    size = contest.chance.randrange(2, PART)
    offered = [contest.content(size) for _ in range(clients)]
    upload = contest.opened(size)
    gate = threading.Barrier(clients)
    urls = {data: contest.admin.url(upload) for data in offered}
    sent = contest.together(offered, lambda data: contest.put_slowly(urls[data], data, gate))
    contest.tell("PUT", sent, (200, *LOST))
    claims = contest.together(offered, lambda data: contest.admin.complete({upload: (size, sha(data))}, 30))
    contest.tell("complete", list(chain(*map(as_answers, claims))), (200, *LOST))
    contest.one_winner(offered)


def bundles(contest: Contest, clients: int) -> None:
    """All bring other bytes for one upload in bundles."""
    size = contest.chance.randrange(1, 30_000)
    offered = [contest.content(size) for _ in range(clients)]
    upload = contest.opened(size)

    def send(data: bytes) -> list[Answer]:
        sent = as_answers(contest.admin.bundle({upload: data}))
        return [*sent, *as_answers(contest.admin.complete({upload: (size, sha(data))}, 30))]

    contest.tell("bundle and complete", list(chain(*contest.together(offered, send))), (200, *LOST))
    contest.one_winner(offered)


def other_sources(contest: Contest, clients: int) -> None:
    """Each stages the path as a source of its own: one is let in, the next ones follow as versions."""
    offered = [contest.content(contest.chance.randrange(1, 3 * PART)) for _ in range(clients)]

    def bring(number: int) -> Answer:
        data = offered[number]
        staged = contest.stage(data, f"v{number}", f"source {number}")
        return deliver(contest, staged, data)

    answers = contest.together(range(clients), bring)
    contest.tell("stage", answers, (200, *LOST))
    contest.expect(len(contest.one_winner(offered, most=clients)) >= 1, "S: nobody was let in")
    late = [number for number, answer in enumerate(answers) if answer.status != 200]
    contest.tell("later", [bring(number) for number in late], (200,))
    contest.expect(len(contest.one_winner(offered, most=clients)) == clients, "L: not all arrived in the end")


def newer_versions(contest: Contest, clients: int) -> None:
    """One source brings newer and newer versions; each takes the place of the one before."""
    offered = [contest.content(contest.chance.randrange(1, 3 * PART)) for _ in range(clients)]

    def bring(number: int) -> Answer:
        return deliver(contest, contest.stage(offered[number], f"v{number}"), offered[number])

    contest.tell("stage and send", contest.together(range(clients), bring), (200, *LOST))
    contest.one_winner(offered, most=clients)


def deliver(contest: Contest, staged: dict[str, object], data: bytes) -> Answer:
    """Send all parts of a staged file and claim it; return the first answer that is no success."""
    if "problem" in staged:
        return as_answers(staged)[0]
    if staged["done"]:
        return Answer(200)
    upload = int(str(staged["upload"]))
    for number in range(1, -(-len(data) // PART) + 1):
        answer = put(contest, upload, data, number)
        if answer.status != 200:
            return answer
    return as_answers(contest.admin.complete({upload: (len(data), sha(data))}, 30))[0]


def wrong_parts(contest: Contest, clients: int) -> None:
    """Beside an honest client others send parts of wrong length, number, offset and checksum."""
    data = contest.content(3 * PART)
    upload = contest.opened(len(data))
    wrongs = [partial(wrong, contest, upload, data, contest.chance.choice(WRONGS)) for _ in range(clients - 1)]

    def honest() -> Answer:
        return deliver(contest, {"upload": upload, "done": False}, data)

    answers = contest.together([honest, *wrongs], lambda client: client())
    contest.tell("wrong", answers[1:], (*REFUSED, GONE))
    contest.tell("honest", answers[:1], (200, *LOST))
    if answers[0].status != 200:
        contest.tell("honest again", [honest()], (200,))
    contest.expect(contest.one_winner([data]) == [sha(data)], "S: the honest client's file was not accepted")


def wrong(contest: Contest, upload: int, data: bytes, kind: str) -> Answer:
    """PUT something that must not be taken."""
    url, junk = contest.admin.url(upload, 1), bytes(PART)
    if not url:
        return Answer(409)
    if kind == "part":
        return contest.admin.put(url.replace(f"/{upload}/1?", f"/{upload}/2?"), junk)
    if kind == "offset":
        return contest.admin.put(url.replace("offset=0", f"offset={PART}"), junk)
    if kind == "number":
        return as_answers(contest.admin.post("/uploads/parts", {"items": [{"upload": upload, "number": 4}]}))[0]
    if kind == "crc":
        return contest.admin.put(url, junk, crc=1)
    if kind == "short":
        return contest.admin.put(url, junk[:-1])
    if kind == "long":
        return contest.admin.put(url, junk + b"x")
    slow = slow_put(contest.port, url, junk)
    if kind == "broken":
        slow.send(junk[: PART // 2])
        slow.close(reset=True)
        return Answer(GONE)
    slow.close()
    chunked = Slow(contest.port, "PUT", url, {"X-Dray-Crc32c": crc_of(junk), "Transfer-Encoding": "chunked"})
    return contest.finish(chunked, b"10000\r\n" + junk + b"\r\n0\r\n\r\n")


WRONGS = ("part", "offset", "number", "crc", "short", "long", "broken", "chunked")


def cancel_against_complete(contest: Contest, clients: int) -> None:
    """Some complete and some cancel one upload: in the end it is accepted or gone, and everybody was told which."""
    data = contest.content(contest.chance.randrange(1, 3 * PART))
    upload = contest.opened(len(data))
    for number in range(1, -(-len(data) // PART) + 1):
        put(contest, upload, data, number)
    kinds = [True, False, *(contest.chance.random() < 0.5 for _ in range(clients - 2))]

    def act(completes: bool) -> tuple[bool, Answer]:
        asked = contest.admin.complete({upload: (len(data), sha(data))}, 30) if completes else None
        return completes, as_answers(asked or contest.admin.cancel(upload))[0]

    answers = contest.together(kinds, act)
    contest.tell("complete", [answer for completes, answer in answers if completes], (200, *LOST))
    contest.tell("cancel", [answer for completes, answer in answers if not completes], (200, *LOST))
    won = bool(contest.one_winner([data]))
    state = contest.verdicts()[upload]
    contest.expect(state == ("accepted" if won else "cancelled"), f"the upload is {state}")
    said = {answer.body for completes, answer in answers if answer.status == 200}
    contest.expect(not won or b"cancelled" not in said, "F: somebody was told that it is cancelled")
    contest.expect(won or b"accepted" not in said, "F: somebody was told that it is accepted")
    contest.expect(won == (contest.store.root / contest.key).exists(), "F: the name is there although it was cancelled")


def cancel_against_parts(contest: Contest, clients: int) -> None:
    """The upload is cancelled while parts come; no part is receipted afterwards."""
    data = contest.content(contest.chance.choice((PART // 2, 3 * PART)))
    upload = contest.opened(len(data))
    numbers = [1 + n % -(-len(data) // PART) for n in range(clients - 1)][: -(-len(data) // PART)]
    slows = [slow_put(contest.port, contest.admin.url(upload, n), part(data, n)) for n in numbers]
    contest.together(slows, lambda slow: slow.send(part(data, numbers[slows.index(slow)])[:1000]))
    contest.most = max(contest.most, len(slows) + 1)
    contest.tell("cancel", [contest.admin.cancel(upload)], (200,))
    answers = [contest.finish(slow, part(data, n)[1000:]) for slow, n in zip(slows, numbers, strict=True)]
    contest.tell("PUT", answers, LOST)
    contest.tell("complete", as_answers(contest.admin.complete({upload: (len(data), sha(data))})), LOST)
    contest.one_winner([], most=0)


def revoked(contest: Contest, clients: int) -> None:
    """The token is revoked while its parts come: nothing it sends is taken, somebody else finishes."""
    data = contest.content(3 * PART)
    guest, token = contest.admin.token_with(["write", "create"], [contest.dataset])
    upload = int(str(contest.stage(len(data), "v", who=guest)["upload"]))
    numbers = list(range(1, min(clients, 4)))
    slows = [slow_put(contest.port, guest.url(upload, n), part(data, n)) for n in numbers]
    for slow, number in zip(slows, numbers, strict=True):
        slow.send(part(data, number)[:1000])
    contest.most = len(slows) + 1
    contest.tell("revoke", [contest.admin.post(f"/tokens/{token}/revoke")], (200,))
    answers = [contest.finish(slow, part(data, n)[1000:]) for slow, n in zip(slows, numbers, strict=True)]
    contest.tell("PUT", answers, (401, 403, *LOST))
    claim = guest.complete({upload: (len(data), sha(data))})
    contest.tell("complete", [claim, guest.bundle({upload: b""}), guest.cancel(upload)], (401, 403))
    held = contest.admin.get(f"/uploads/{upload}/parts").json["held"]
    contest.expect(held == [], f"F: parts are held that were sent by a revoked token: {held}")
    finished = deliver(contest, {"upload": upload, "done": False}, data)
    contest.tell("another token", [finished], (200,))
    contest.expect(contest.one_winner([data]) == [sha(data)], "S: nobody could finish the upload")


def other_claims(contest: Contest, clients: int) -> None:
    """All claim another checksum for what one has sent: one claim counts, only the true one is accepted."""
    data = contest.content(contest.chance.randrange(1, 3 * PART))
    upload = contest.opened(len(data))
    for number in range(1, -(-len(data) // PART) + 1):
        put(contest, upload, data, number)
    claims = [sha(data), *(sha(contest.chance.randbytes(8)) for _ in range(clients - 1))]
    contest.chance.shuffle(claims)
    answers = contest.together(claims, lambda claim: contest.admin.complete({upload: (len(data), claim)}, 30))
    told = list(chain(*map(as_answers, answers)))
    contest.tell("complete", told, (200, *LOST))
    taken = [claim for claim, answer in zip(claims, told, strict=True) if answer.status == 200]
    contest.expect(len(taken) == 1, f"{len(taken)} claims were taken")
    contest.expect(bool(contest.one_winner([data])) == (taken == [sha(data)]), "F: the wrong claim decided")


def never_sent(contest: Contest, clients: int) -> None:
    """All claim, at once, what the path held before it held what it holds now; none of them sends it."""
    size = contest.chance.randrange(1, 3 * PART)
    older, newer = contest.content(size), contest.content(size)
    for version, data in (("v1", older), ("v2", newer)):
        contest.tell("before", [deliver(contest, contest.stage(data, version), data)], (200,))
    upload = contest.opened(older, "v3")
    claims = contest.together(
        range(clients), lambda _: contest.admin.complete({upload: (size, sha(older))}, contest.chance.choice((0, 5)))
    )
    contest.tell("complete", list(chain(*map(as_answers, claims))), (200, *LOST))
    contest.one_winner([older, newer], most=2)


def commands(contest: Contest, clients: int) -> None:
    """Several `dray upload` bring the same path from different places: each ends, and says what became of its own."""
    number = min(clients, 3)
    offered = [contest.content(contest.chance.randrange(1, 5 * PART)) for _ in range(number)]
    trees = [contest.rig.base / f"{contest.name} {n}" for n in range(number)]
    for tree, data in zip(trees, offered, strict=True):
        tree.mkdir()
        (tree / contest.name).write_bytes(data)
    url = f"{contest.rig.server.url}/{contest.dataset}"

    def send(tree: Path) -> Process:
        command = start_client(contest.rig, ["upload", f"{tree}/", url], {"DRAY_CLIENT_RETRY_FOR": "15s"})
        command.wait(120)
        return command

    ended = contest.together(trees, send)
    codes = [process.child.returncode if process.child else None for process in ended]
    contest.told.append(f"ended with {codes}")
    odd = [process.tail(300) for process, code in zip(ended, codes, strict=True) if code not in (0, 5)]
    contest.expect(not odd, f"a command ended with {codes}: {odd}")
    there = contest.accepted()
    for data, code in zip(offered, codes, strict=True):
        contest.expect(code != 0 or sha(data) in there, "F: a command ended with 0, its content is not there")
    contest.expect(set(there) <= {sha(data) for data in offered}, "C: nobody sent what is there")
    contest.learn()


def complete_too_early(contest: Contest, clients: int) -> None:
    """It is completed while parts are still on their way: accepted with all of them or not at all."""
    data = contest.content(3 * PART)
    upload = contest.opened(len(data))

    def act(number: int) -> Answer:
        if number < 4:
            return put(contest, upload, data, number)
        return as_answers(contest.admin.complete({upload: (len(data), sha(data))}, contest.chance.choice((0, 5))))[0]

    contest.tell("PUT and complete", contest.together([1, 2, 3, *range(4, 4 + clients)], act), (200, *LOST))
    contest.one_winner([data])


def repeated(contest: Contest, clients: int) -> None:
    """All make the same call with the same Idempotency-Key: it is done once."""
    data = contest.content(contest.chance.randrange(1, PART))
    file = {"path": contest.name, "size": len(data), "version": "v", "source": "one"}
    body = {"dataset": contest.dataset, "files": [file]}
    asked = {"Idempotency-Key": f"key-{contest.name}-{contest.chance.random()}"}
    answers = contest.together(range(clients), lambda _: contest.admin.post("/uploads", body, **asked))
    contest.tell("stage", answers, (200, *LOST))
    opened = {item["upload"] for answer in answers if answer.status == 200 for item in answer.items}
    contest.expect(len(opened) == 1, f"D: {len(opened)} uploads were opened")
    contest.uploads += opened
    contest.tell("send", [deliver(contest, {"upload": one, "done": False}, data) for one in opened], (200,))
    contest.expect(contest.one_winner([data]) == [sha(data)], "S: it was not accepted")


def part(data: bytes, number: int) -> bytes:
    """Return the bytes of one part."""
    return data[(number - 1) * PART : number * PART]


def as_answers(answer: Answer | dict[str, object]) -> list[Answer]:
    """Return each item of a batch as an answer of its own, with the status of its problem."""
    if isinstance(answer, dict):
        told = answer.get("problem")
        return [Answer(int(told["status"]) if isinstance(told, dict) else 200, str(answer).encode())]
    return list(chain(*map(as_answers, answer.items))) if answer.status == 200 else [answer]


SCENARIOS: dict[str, Callable[[Contest, int], None]] = {
    "the same parts from all": same_bytes,
    "other bytes for the same parts": other_bytes,
    "other bytes for a small file": small_bytes,
    "other bytes in bundles": bundles,
    "one path, many sources": other_sources,
    "one source, newer versions": newer_versions,
    "wrong parts beside an honest client": wrong_parts,
    "cancel against complete": cancel_against_complete,
    "cancel while parts come": cancel_against_parts,
    "revoke while parts come": revoked,
    "other claims": other_claims,
    "complete while parts come": complete_too_early,
    "the same call at once": repeated,
    "an older content, never sent": never_sent,
}
RARELY = 50
"""One try in so many is made with commands, which take their time."""

ROW = Row(
    id="R13",
    title="2-8 clients on one upload or one path; wrong parts and claims; cancel and revoke in the middle",
    must="one winner, no interleaving, losers get 409 or 423; L0 C0 D0 F0 O0",
    run=run,
    ci=1000,
    full=20_000,
    slice=14,
)
