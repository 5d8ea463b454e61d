"""Documents that were damaged on their way are believed by neither side."""

import asyncio
import json

import pytest

from dray.api.parsing import check_intact
from dray.client.address import parse
from dray.client.api import Api, Server, find_server
from dray.client.http import Http, HttpSettings
from dray.errors import Disconnected, NotFound, PieceDamaged
from dray.model.intact import HEADER, check, is_intact
from dray.model.views import DatasetRequest, Me
from tests.servers.scripted import Answer, scripted

ME = json.dumps({"token": 1, "name": "anna", "scopes": ["read"], "datasets": []}).encode()
DAMAGED = ME.replace(b"anna", b"anne")


def ask(url: str) -> Me:
    async def story() -> Me:
        async with Http(HttpSettings()) as http:
            return await Api(http, Server(url=url, api=f"{url}/api/v1", prefix=0, version="1"), "token").me()

    return asyncio.run(story())


def test_a_changed_letter_is_found_and_who_says_nothing_is_believed() -> None:
    assert is_intact(check(ME), ME)
    assert is_intact(check(ME).upper(), ME)
    assert is_intact(None, DAMAGED)
    assert not is_intact(check(ME), DAMAGED)


def test_the_client_takes_a_damaged_answer_for_none() -> None:
    with scripted(lambda asked: Answer(body=ME, headers={HEADER: check(ME)})) as server:
        assert ask(server.url).name == "anna"
    with (
        scripted(lambda asked: Answer(body=DAMAGED, headers={HEADER: check(ME)})) as server,
        pytest.raises(Disconnected, match="damaged on its way"),
    ):
        ask(server.url)


def test_the_client_says_what_its_documents_are() -> None:
    async def story(url: str) -> None:
        async with Http(HttpSettings()) as http:
            api = Api(http, Server(url=url, api=f"{url}/api/v1", prefix=0, version="1"), "token")
            await api.create_dataset(DatasetRequest(name="run"))

    view = json.dumps({"name": "run", "files": 0, "bytes": 0, "created": 1.0}).encode()
    with scripted(lambda asked: Answer(body=view)) as server:
        asyncio.run(story(server.url))
    (asked,) = server.requests
    assert asked.headers[HEADER.lower()] == check(asked.body)


def test_the_server_refuses_a_damaged_request_as_one_to_be_sent_again() -> None:
    check_intact(check(ME), ME)
    with pytest.raises(PieceDamaged) as refused:
        check_intact(check(ME), DAMAGED)
    assert refused.value.retry == "later"


def test_an_answer_that_is_no_text_is_no_server() -> None:
    async def story(url: str) -> None:
        async with Http(HttpSettings()) as http:
            await find_server(http, parse(url))

    health = b'{"status":"ok","name":"dray","version":"1","api":"/\xb8pi/v1"}'
    with scripted(lambda asked: Answer(body=health)) as server, pytest.raises(NotFound):
        asyncio.run(story(server.url))
    with (
        scripted(lambda asked: Answer(body=health, headers={HEADER: check(b"else")})) as server,
        pytest.raises(Disconnected),
    ):
        asyncio.run(story(server.url))
