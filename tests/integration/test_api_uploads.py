"""The way of bytes in, over HTTP, against a running server."""

import os
import secrets
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.rest import API, Rest, digest
from tests.servers.dray import DrayServer, dray_server

PART = 1 << 20
SETTINGS = {"DRAY_LIMITS_PART_SIZE": "1M"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrayServer]:
    with dray_server(tmp_path_factory.mktemp("api"), env=SETTINGS) as running:
        yield running


@pytest.fixture
def rest(server: DrayServer) -> Rest:
    return Rest(server)


@pytest.fixture
def dataset() -> str:
    return f"d-{secrets.token_hex(4)}"


def stored(server: DrayServer, dataset: str, path: str) -> bytes:
    return (server.data / "store" / dataset / path).read_bytes()


def test_many_small_files_come_in_one_request_and_are_verified(rest: Rest, server: DrayServer, dataset: str) -> None:
    files = {f"run/{n}/f{n}.dat": os.urandom(n * 37) for n in range(100)}
    verdicts = rest.upload(dataset, files)
    assert [one["state"] for one in verdicts] == ["accepted"] * 100
    assert all(one["proof"]["checksum"] == digest(data) for one, data in zip(verdicts, files.values(), strict=True))
    assert all(stored(server, dataset, path) == data for path, data in files.items())
    assert rest.get(f"/datasets/{dataset}").json["files"] == 100


def test_a_large_file_comes_in_signed_parts_in_any_order(rest: Rest, server: DrayServer, dataset: str) -> None:
    data = os.urandom(3 * PART + 17)
    (staged,) = rest.stage(dataset, {"large.bin": len(data)})
    assert staged["part_size"] == PART
    for number in (4, 2, 1, 3):
        part = data[(number - 1) * PART :][:PART]
        answer = rest.put(rest.url(staged["upload"], number), part)
        assert answer.status == 200
        assert answer.json["level"] == "durable"
    held = rest.get(f"/uploads/{staged['upload']}/parts").json
    assert [one["number"] for one in held["held"]] == [1, 2, 3, 4]
    (verdict,) = rest.complete([(staged["upload"], data)])
    assert verdict["state"] == "accepted"
    assert verdict["proof"]["level"] == "durable"
    assert stored(server, dataset, "large.bin") == data


def test_a_held_part_is_receipted_again_and_other_bytes_for_it_are_a_conflict(rest: Rest, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 2 * PART})
    url = rest.url(staged["upload"], 1)
    first, other = os.urandom(PART), os.urandom(PART)
    assert rest.put(url, first).status == 200
    assert rest.put(url, first).status == 200
    refused = rest.put(url, other)
    assert (refused.status, refused.code) == (409, "conflict")


def test_a_part_that_was_damaged_on_the_way_is_refused_and_may_be_sent_again(rest: Rest, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 2 * PART})
    data = os.urandom(PART)
    answer = rest.put(rest.url(staged["upload"], 1), data, crc=1)
    assert (answer.status, answer.code, answer.json["retry"]) == (422, "piece-damaged", "later")
    assert rest.get(f"/uploads/{staged['upload']}/parts").json["held"] == []
    assert rest.put(rest.url(staged["upload"], 1), data).status == 200


def test_a_damaged_file_of_a_bundle_does_not_disturb_the_others(rest: Rest, dataset: str) -> None:
    good, bad = rest.stage(dataset, {"good": 4, "bad": 4})
    manifest = (
        b'{"items": [{"upload": %d, "size": 4, "crc32c": "00000000"}, {"upload": %d, "size": 4, "crc32c": "%08x"}]}'
    )
    from crc32c import crc32c

    manifest %= (bad["upload"], good["upload"], crc32c(b"good"))
    body = len(manifest).to_bytes(4, "big") + manifest + b"evilgood"
    answer = rest.ask("POST", f"{API}/uploads/bundle", body, {"Content-Type": "application/vnd.dray.bundle"})
    first, second = answer.items
    assert first["problem"]["code"] == "piece-damaged"
    assert second["upload"] == good["upload"]


def test_a_claim_that_is_not_true_is_rejected_and_nothing_is_published(
    rest: Rest, server: DrayServer, dataset: str
) -> None:
    (staged,) = rest.stage(dataset, {"f": 5})
    assert "problem" not in rest.bundle([(staged["upload"], b"truth")]).items[0]
    claim = {"upload": staged["upload"], "size": 5, "checksum": digest(b"false")}
    (verdict,) = rest.post("/uploads/complete?wait=30", {"items": [claim]}).items
    assert verdict["state"] == "rejected"
    assert digest(b"truth") in verdict["reason"]
    assert not (server.data / "store" / dataset / "f").exists()


def test_an_empty_file_is_a_file(rest: Rest, server: DrayServer, dataset: str) -> None:
    (verdict,) = rest.upload(dataset, {"empty": b""})
    assert verdict["state"] == "accepted"
    assert stored(server, dataset, "empty") == b""


def test_completing_what_was_never_sent_waits_or_fails_but_is_never_accepted(rest: Rest, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 5})
    (verdict,) = rest.complete([(staged["upload"], b"bytes")], wait=5)
    assert verdict["state"] != "accepted"
    assert verdict["reason"]


def test_sending_again_what_is_there_moves_nothing(rest: Rest, dataset: str) -> None:
    rest.upload(dataset, {"f": b"same"})
    (again,) = rest.stage(dataset, {"f": 4}, checksum=digest(b"same"))
    assert again["done"] is True
    assert again["state"] == "accepted"


def test_new_content_at_a_path_is_a_new_version_and_the_old_one_stays(rest: Rest, dataset: str) -> None:
    rest.upload(dataset, {"f": b"one"})
    rest.upload(dataset, {"f": b"other"})
    found = rest.get(f"/files?dataset={dataset}&version=all").items
    assert [(one["version_number"], one["size"], one["current"]) for one in found] == [(1, 3, False), (2, 5, True)]
    for one, content in zip(found, (b"one", b"other"), strict=True):
        (signed,) = rest.post("/files/urls", {"items": [{"file": one["file"]}]}).items
        assert Rest(rest.server, "").ask("GET", signed["url"]).body == content


# What is refused


def test_a_url_is_good_for_its_part_alone(rest: Rest, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 2 * PART})
    url = rest.url(staged["upload"], 1)
    data = os.urandom(PART)
    for other in (url.replace("/1?", "/2?"), url.replace("offset=0", "offset=1"), url[:-1] + "x", url.split("&sig")[0]):
        answer = rest.put(other, data)
        assert (answer.status, answer.code) == (403, "denied")
    assert rest.ask("POST", url, data).status == 405


def test_the_length_has_to_be_that_of_the_part(rest: Rest, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 2 * PART})
    url = rest.url(staged["upload"], 1)
    assert rest.put(url, b"short").code == "usage"
    assert rest.put(url, os.urandom(PART + 1)).code == "usage"


def test_a_part_without_its_checksum_is_refused(rest: Rest, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 3})
    for header in ("", "xyz", "123", "123456789"):
        answer = rest.put(rest.url(staged["upload"]), b"abc", **{"X-Dray-Crc32c": header})
        assert (answer.status, answer.json["item"]) == (400, "X-Dray-Crc32c")


def test_a_chunked_body_is_asked_for_its_length(rest: Rest, server: DrayServer, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 3})
    target = rest.url(staged["upload"]).split(str(server.port))[1]
    head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nX-Dray-Crc32c: 00000000\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        raw.sendall(head.encode() + b"3\r\nabc\r\n0\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 411")


def test_a_part_beyond_the_end_does_not_exist(rest: Rest, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 3})
    (answer,) = rest.post("/uploads/parts", {"items": [{"upload": staged["upload"], "number": 2}]}).items
    assert answer["problem"]["code"] == "not-found"


def test_a_cancelled_upload_takes_no_bytes(rest: Rest, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 2 * PART})
    url = rest.url(staged["upload"], 1)
    (view,) = rest.post("/uploads/cancel", {"items": [{"upload": staged["upload"]}]}).items
    assert view["state"] == "cancelled"
    assert rest.put(url, os.urandom(PART)).code == "conflict"
    (item,) = rest.post("/uploads/parts", {"items": [{"upload": staged["upload"], "number": 1}]}).items
    assert item["problem"]["code"] == "conflict"


def test_a_bundle_that_announces_other_sizes_than_it_has_is_refused_whole(rest: Rest, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 3})
    manifest = b'{"items": [{"upload": %d, "size": 3, "crc32c": "00000000"}]}' % staged["upload"]
    for body in (
        len(manifest).to_bytes(4, "big") + manifest + b"abcd",
        len(manifest).to_bytes(4, "big") + manifest + b"ab",
        b"\xff\xff\xff\xff" + manifest,
        b"\0\0",
        b"\0\0\0\2{}",
        b"\0\0\0\4nope",
    ):
        answer = rest.ask("POST", f"{API}/uploads/bundle", body, {"Content-Type": "application/vnd.dray.bundle"})
        assert 400 <= answer.status < 500, body
        assert answer.code in ("usage", "refused", "limit", "disconnected")


def test_hostile_names_are_refused_one_by_one_and_the_rest_is_taken(
    rest: Rest, server: DrayServer, dataset: str
) -> None:
    names = ["../up", "/etc/passwd", "a/../b", "a//b", ".dray/x", "nul\0", "ok.txt", "..", "x" * 300, "fine\nline"]
    answers = rest.stage(dataset, dict.fromkeys(names, 1))
    problems = {name: answer.get("problem", {}).get("code") for name, answer in zip(names, answers, strict=True)}
    assert problems == {name: None if name in ("ok.txt", "fine\nline") else "name-refused" for name in names}
    assert not (server.data / "up").exists()


# Who may


def test_a_token_reaches_only_its_datasets(rest: Rest, dataset: str) -> None:
    writer, _ = rest.token_with("write", "create", datasets=("mine-*",))
    assert writer.upload("mine-1", {"f": b"x"})[0]["state"] == "accepted"
    denied = writer.post("/uploads", {"dataset": dataset, "files": [{"path": "f", "size": 1, "version": "v"}]})
    assert (denied.status, denied.code) == (403, "denied")
    (staged,) = rest.stage(dataset, {"f": 3})
    (item,) = writer.post("/uploads/parts", {"items": [{"upload": staged["upload"], "number": 1}]}).items
    assert item["problem"]["code"] in ("denied", "not-found")
    (receipt,) = writer.bundle([(staged["upload"], b"abc")]).items
    assert receipt["problem"]["code"] in ("denied", "not-found")


def test_a_revoked_token_ends_what_it_signed(rest: Rest, dataset: str) -> None:
    writer, number = rest.token_with("write", "create")
    (staged,) = writer.stage(dataset, {"f": 2 * PART})
    urls = [writer.url(staged["upload"], part) for part in (1, 2)]
    assert rest.put(urls[0], os.urandom(PART)).status == 200
    assert rest.post(f"/tokens/{number}/revoke").json["revoked"]
    assert rest.put(urls[1], os.urandom(PART)).code == "unauthenticated"
    assert writer.get("/me").code == "unauthenticated"


def test_a_token_that_is_revoked_while_a_body_comes_gets_no_receipt(
    rest: Rest, server: DrayServer, dataset: str
) -> None:
    writer, number = rest.token_with("write", "create")
    (staged,) = writer.stage(dataset, {"f": 2 * PART})
    data = os.urandom(PART)
    with open_put(server, writer.url(staged["upload"], 1), data) as raw:
        raw.sendall(data[: PART // 2])
        rest.post(f"/tokens/{number}/revoke")
        raw.sendall(data[PART // 2 :])
        assert raw.recv(4096).startswith(b"HTTP/1.1 401")
    assert rest.get(f"/uploads/{staged['upload']}/parts").json["held"] == []


# What breaks


def open_put(server: DrayServer, url: str, data: bytes) -> socket.socket:
    """Begin a PUT by hand and leave the body to the caller."""
    from crc32c import crc32c

    target = url.split(str(server.port), 1)[1]
    head = (
        f"PUT {target} HTTP/1.1\r\nHost: x\r\nX-Dray-Crc32c: {crc32c(data):08x}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    raw = socket.create_connection(("127.0.0.1", server.port), 30)
    raw.sendall(head.encode())
    return raw


def test_a_body_that_breaks_off_is_not_receipted_and_the_part_can_be_sent_again(
    rest: Rest, server: DrayServer, dataset: str
) -> None:
    (staged,) = rest.stage(dataset, {"f": 2 * PART})
    data = os.urandom(PART)
    url = rest.url(staged["upload"], 1)
    raw = open_put(server, url, data)
    raw.sendall(data[:700_000])
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    assert rest.put(url, data).status == 200
    assert len(rest.get(f"/uploads/{staged['upload']}/parts").json["held"]) == 1


def test_the_newest_request_for_a_part_ends_one_that_lingers(rest: Rest, server: DrayServer, dataset: str) -> None:
    (staged,) = rest.stage(dataset, {"f": 2 * PART})
    data = os.urandom(PART)
    url = rest.url(staged["upload"], 1)
    with open_put(server, url, data) as raw:
        raw.sendall(data[:500_000])
        assert rest.put(url, data).status == 200
        raw.settimeout(10)
        assert b"200 OK" not in drained(raw)


def drained(raw: socket.socket) -> bytes:
    """Return what still comes until the other side closes."""
    found = b""
    try:
        while block := raw.recv(4096):
            found += block
    except ConnectionError:
        pass
    return found


def test_every_byte_of_a_file_that_comes_is_counted_once(rest: Rest, dataset: str) -> None:
    before = rest.get("/status").json["bytes_received"]
    rest.upload(dataset, {"a": b"x" * 1000, "b": b"y" * 500})
    (staged,) = rest.stage(dataset, {"f": PART + 5})
    rest.put(rest.url(staged["upload"], 2), b"12345")
    assert rest.get("/status").json["bytes_received"] - before == 1505


def test_what_was_receipted_survives_kill_9_and_is_not_asked_for_again(tmp_path: Path) -> None:
    with dray_server(tmp_path, env=SETTINGS) as server:
        rest = Rest(server)
        data = os.urandom(2 * PART + 1)
        (staged,) = rest.stage("d", {"f": len(data)})
        rest.put(rest.url(staged["upload"], 1), data[:PART])
        rest.put(rest.url(staged["upload"], 3), data[2 * PART :])
        key = (server.data / "signing.key").read_bytes()
        signed = rest.url(staged["upload"], 2)
        server.kill9()
        server.start()
        assert (server.data / "signing.key").read_bytes() == key
        held = rest.get(f"/uploads/{staged['upload']}/parts").json["held"]
        assert [one["number"] for one in held] == [1, 3]
        assert rest.put(signed, data[PART : 2 * PART]).status == 200
        (verdict,) = rest.complete([(staged["upload"], data)])
        assert verdict["state"] == "accepted"


def test_a_server_that_is_asked_to_stop_ends_what_runs_first(tmp_path: Path) -> None:
    with dray_server(tmp_path, env=SETTINGS) as server:
        rest = Rest(server)
        (staged,) = rest.stage("d", {"f": 2 * PART})
        data = os.urandom(PART)
        with open_put(server, rest.url(staged["upload"], 1), data) as raw:
            raw.sendall(data[:1000])
            server.process.signal(signal.SIGTERM)
            raw.sendall(data[1000:])
            assert raw.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.process.wait(30) == 0
