"""Calls of the native API as the client makes them: what goes over the wire, and what answers become."""

import asyncio
import json

import pytest

from dray.client.address import Place, parse
from dray.client.api import Api, Server, find_place
from dray.client.http import Http, HttpSettings
from dray.client.problems import failure
from dray.errors import (
    Busy,
    Conflict,
    Denied,
    DrayError,
    Expired,
    NoSpace,
    NotFound,
    Permanent,
    Temporary,
    TooManyRequests,
    Unreachable,
    UsageError,
)
from dray.fs import FileRange
from dray.model import views
from tests.servers.scripted import Answer, scripted

PROBLEM = "application/problem+json"
TOKEN = "dray_0123456789abcdefghijklmnopqrstuv"


def ask(server, call):
    async def story():
        async with Http(HttpSettings()) as http:
            return await call(
                Api(http, Server(url=server.url, api=f"{server.url}/api/v1", prefix=0, version="1"), TOKEN)
            )

    return asyncio.run(story())


def problem(code: str, status: int, **more) -> dict:
    known = {"type": f"/problems/{code}", "title": "t", "status": status, "detail": "what happened", "code": code}
    return {**known, **more}


def test_a_failed_item_of_a_batch_stands_in_its_place():
    view = {"number": 1, "offset": 0, "length": 2, "crc32c": "00000000"}
    items = [
        {"problem": problem("busy", 423, item="a", retry="later", retry_after=3)},
        {"upload": 7, **view, "level": "durable"},
    ]

    async def call(api):
        return await api.send_bundle(
            views.BundleManifest(items=[views.BundleItem(upload=7, size=0, crc32c="00000000")]), []
        )

    with scripted(lambda request: Answer(200, json.dumps({"items": items}).encode())) as server:
        failed, good = ask(server, call)
    assert isinstance(failed, Busy)
    assert (failed.item, failed.after) == ("a", 3)
    assert good == views.PartReceipt(upload=7, number=1, length=2, crc32c="00000000", level="durable")
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_bundle_is_the_length_of_the_manifest_the_manifest_and_the_bodies():
    item = views.BundleItem(upload=7, size=0, crc32c="00000000")
    with scripted(lambda request: Answer(200, b'{"items": []}')) as server:
        ask(server, lambda api: api.send_bundle(views.BundleManifest(items=[item]), []))
    body = server.requests[0].body
    assert json.loads(body[4:]) == {"items": [{"upload": 7, "size": 0, "crc32c": "00000000"}]}
    assert int.from_bytes(body[:4], "big") == len(body) - 4
    assert server.requests[0].headers["content-type"] == "application/vnd.dray.bundle"


def test_pages_are_followed_to_the_last():
    file = {"dataset": "d", "version_number": 1, "size": 0, "checksum": None, "state": "published", "mtime_ns": None}
    file |= {"created": 0, "published": 0, "current": True}
    pages = iter([("a", "c&1"), ("b", None)])

    def page(request):
        path, cursor = next(pages)
        return Answer(200, json.dumps({"items": [{**file, "file": 1, "path": path}], "next": cursor}).encode())

    async def call(api):
        return [view.path async for view in api.files([("dataset", "d")])]

    with scripted(page) as server:
        assert ask(server, call) == ["a", "b"]
    assert server.requests[1].path == "/api/v1/files?dataset=d&limit=1000&cursor=c%261"


def test_signed_urls_get_no_token():
    url = views.SignedUrl(url="/files/parts/1/1?signature=x", expires=0)

    async def call(api):
        return await api.get_range(url, 5, FileRange(0, 0, 1))

    with scripted(lambda request: Answer(403, b"")) as server, pytest.raises(Denied):
        ask(server, call)
    assert "authorization" not in server.requests[0].headers


def test_an_answer_that_is_no_json_is_told_as_such():
    with scripted(lambda request: Answer(200, b"<html>")) as server, pytest.raises(Permanent, match="not understood"):
        ask(server, lambda api: api.me())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Denied),
        (404, NotFound),
        (409, Conflict),
        (502, Unreachable),
        (503, Temporary),
        (507, NoSpace),
        (500, Permanent),
    ],
)
def test_a_bare_status_becomes_the_error_that_has_it(status, kind):
    assert isinstance(failure(status, "text/html", b"<h1>no</h1>"), kind)


def test_retry_after_is_kept():
    assert failure(429, "", b"", "7").after == 7
    assert isinstance(failure(429, "", b""), TooManyRequests)
    assert failure(503, "", b"", "Wed, 21 Oct 2015 07:28:00 GMT").after is None


def test_a_problem_of_a_newer_server_keeps_its_meaning_by_status():
    body = json.dumps(problem("brand-new", 423, hint="h")).encode()
    error = failure(423, PROBLEM, body)
    assert isinstance(error, Busy)
    assert error.hint == "h"


def test_an_unexpected_failure_names_the_request_to_look_for_in_the_log():
    assert "abc" in failure(500, PROBLEM, json.dumps(problem("unexpected", 500, request_id="abc")).encode()).hint


def test_an_expired_url_is_told_apart_from_a_refusal():
    assert isinstance(failure(403, PROBLEM, json.dumps(problem("expired", 403)).encode()), Expired)


def test_text_of_a_foreign_server_is_made_safe_and_short():
    text = str(failure(400, "text/plain", b"\x1b[31m" + b"x" * 10_000))
    assert "\x1b" not in text
    assert len(text) < 400


def health(prefix: str, api: str = "/api/v1"):
    body = json.dumps({"status": "ok", "name": "dray", "version": "1", "api": api}).encode()
    return lambda request: Answer(200, body) if request.path == f"{prefix}/health" else Answer(404, b"<html>")


def find(server, path):
    async def story():
        async with Http(HttpSettings()) as http:
            return await find_place(http, parse(server.url + path))

    return asyncio.run(story())


def test_a_server_at_the_root_is_found_with_one_question():
    with scripted(health("")) as server:
        found, place = find(server, "/runs/a/b")
    assert (found.api, place) == (f"{server.url}/api/v1", Place(server.url, "runs", "a/b"))
    assert len(server.requests) == 1


@pytest.mark.parametrize("api", ["/api/v1", "/labs/dray/api/v1"])
def test_a_server_below_a_prefix_is_found_whether_it_knows_its_prefix_or_not(api):
    with scripted(health("/labs/dray", api)) as server:
        found, place = find(server, "/labs/dray/runs/a/")
    assert found.api == f"{server.url}/labs/dray/api/v1"
    assert place == Place(f"{server.url}/labs/dray", "runs", "a", folder=True)


def test_another_web_server_is_not_taken_for_dray():
    with scripted(lambda request: Answer(200, b"<html>")) as server, pytest.raises(NotFound, match="no Dray server"):
        find(server, "/runs")


def test_a_gateway_without_its_server_is_a_temporary_failure():
    with scripted(lambda request: Answer(502, b"")) as server, pytest.raises(Unreachable):
        find(server, "/runs")


def test_every_failure_of_the_tree_survives_the_wire():
    for kind in (UsageError, Busy, NoSpace, Conflict):
        error = kind("m", item="i", hint="h", after=2)
        body = json.dumps(
            problem(kind.code, kind.status, detail=error.message, item="i", hint="h", retry=kind.retry, retry_after=2)
        )
        again = failure(kind.status, PROBLEM, body.encode())
        assert isinstance(again, DrayError)
        assert (type(again), again.message, again.item, again.hint, again.after) == (kind, "m", "i", "h", 2)
