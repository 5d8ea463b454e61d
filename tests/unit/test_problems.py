import logging

import msgspec
import pytest

from dray.api.problems import MethodRefused, RangeRefused, problem, respond, told
from dray.errors import Denied, DrayError, NoSpace, Refused, Temporary, Unauthenticated, error_classes
from dray.model.views import Problem


def test_a_problem_says_what_the_error_says() -> None:
    shown = problem(Refused("too long", item="a", hint="shorten it"), "r1")
    assert (shown.status, shown.code, shown.detail, shown.item, shown.hint) == (
        422,
        "refused",
        "too long",
        "a",
        "shorten it",
    )
    assert (shown.type, shown.retry, shown.request_id) == ("/problems/refused", "never", "r1")


def test_names_in_a_problem_are_safe_to_show() -> None:
    shown = problem(Refused("bad\u202ename", item="a\nb\x1b[31m"))
    assert (shown.detail, shown.item) == ("bad\\u202ename", "a\\nb\\x1b[31m")


@pytest.mark.parametrize("kind", sorted(error_classes().values(), key=lambda kind: kind.code))
def test_every_error_has_a_title_of_its_own_words(kind: type[DrayError]) -> None:
    if kind in (MethodRefused, RangeRefused):
        return
    shown = problem(kind("what"))
    assert shown.title
    assert not shown.title.endswith(".")
    assert 400 <= shown.status < 600


def test_the_answer_is_a_problem_document_that_nobody_caches() -> None:
    answer = respond(Denied("no"), "r1")
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert msgspec.json.decode(answer.body, type=Problem).request_id == "r1"


def test_a_missing_token_is_answered_with_how_to_give_one() -> None:
    assert respond(Unauthenticated("no token")).headers["www-authenticate"].startswith("Bearer")


def test_a_wait_is_told_in_whole_seconds() -> None:
    assert respond(NoSpace("full", after=2.2)).headers["retry-after"] == "3"
    assert respond(Temporary("soon")).headers["retry-after"] == "1"
    assert "retry-after" not in respond(Denied("no")).headers


def test_a_refused_method_names_the_allowed_ones() -> None:
    assert respond(MethodRefused("PUT", "GET, HEAD")).headers["allow"] == "GET, HEAD"


def test_a_refused_range_names_the_size() -> None:
    assert respond(RangeRefused(7)).headers["content-range"] == "bytes */7"


def test_what_went_wrong_inside_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "dray.api"):
        shown = told(ValueError("secret inside"), "r9")
    assert shown.status == 500
    assert "secret" not in str(shown)
    assert "r9" in str(shown)
    assert "secret inside" in caplog.text
