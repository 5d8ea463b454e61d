from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from dray.api.parsing import Parameters, decode
from dray.errors import DrayError, NotFound, Refused, UsageError
from dray.model.views import DatasetName, Id, StageRequest, Wire


class Where(Wire, frozen=True, kw_only=True):
    upload: Id
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    deep: bool = False
    name: DatasetName | None = None
    id: list[Id] = msgspec.field(default_factory=list)


PARAMETERS = Parameters(Where, ["upload"])


def read(query: bytes, upload: str = "7") -> Where:
    return PARAMETERS.read({"upload": upload}, query)


def test_parameters_of_path_and_query_become_one_value() -> None:
    assert read(b"id=1&id=2&limit=5&deep=true&name=a.b") == Where(upload=7, id=[1, 2], limit=5, deep=True, name="a.b")


def test_null_is_a_name_like_any_other() -> None:
    assert read(b"name=null").name == "null"


def test_what_is_not_given_has_its_default() -> None:
    assert read(b"") == Where(upload=7)


@pytest.mark.parametrize("upload", ["x", "0", "-1", "1.5", "９", "9" * 400, "%00"])
def test_a_path_that_cannot_exist_is_not_found(upload: str) -> None:
    with pytest.raises(NotFound):
        read(b"", upload)


@pytest.mark.parametrize(
    ("query", "item"),
    [
        (b"limit=0", "limit"),
        (b"limit=", "limit"),
        (b"limit=5&limit=6", "limit"),
        (b"limt=5", "limt"),
        (b"upload=8", "upload"),
        (b"id=1&id=x", "id[1]"),
        (b"name=a%0A", "name"),
        (b"name=..", "name"),
        (b"limit=null", "limit"),
    ],
)
def test_a_wrong_query_names_the_parameter(query: bytes, item: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(query)
    assert caught.value.item == item


@pytest.mark.parametrize("query", [b"name=%ff", b"name=\xff", b"&".join([b"id=1"] * 2000)])
def test_a_query_that_is_none_is_a_usage_error(query: bytes) -> None:
    with pytest.raises(UsageError):
        read(query)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"dataset": "\xff"}', b"nul", b'{"a":' * 100_000, b"[" * 100_000, b'{"dataset": "\\ud800"}'],
)
def test_what_is_no_json_is_a_usage_error(body: bytes) -> None:
    with pytest.raises(UsageError):
        decode(body, StageRequest)


@pytest.mark.parametrize(
    ("body", "item"),
    [
        (b"[]", "the body"),
        (b"null", "the body"),
        (b'{"dataset": "a"}', "the body"),
        (b'{"dataset": 1, "files": []}', "dataset"),
        (b'{"dataset": "a", "files": []}', "files"),
        (b'{"dataset": "a", "files": [{"path": "p", "size": -1, "version": "v"}]}', "files[0].size"),
        (b'{"dataset": "a", "files": [{"path": "p", "size": 1e400, "version": "v"}]}', "files[0].size"),
        (b'{"dataset": "a", "files": [{"path": "p", "size": 1, "version": "\\u0000"}]}', "files[0].version"),
        (b'{"dataset": "a\\n", "files": [{"path": "p", "size": 1, "version": "v"}]}', "dataset"),
    ],
)
def test_json_that_does_not_fit_is_refused_with_the_member_at_fault(body: bytes, item: str) -> None:
    with pytest.raises(Refused) as caught:
        decode(body, StageRequest)
    assert caught.value.item == item


@given(st.binary())
def test_no_body_fails_in_another_way(body: bytes) -> None:
    with pytest.raises(DrayError):
        decode(body, StageRequest)


@given(st.binary(), st.text())
def test_no_query_fails_in_another_way(query: bytes, upload: str) -> None:
    try:
        read(query, upload)
    except DrayError:
        return
