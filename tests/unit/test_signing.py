import pytest
from hypothesis import given
from hypothesis import strategies as st

from dray.api.signing import Signer
from dray.errors import Denied, Expired

SIGNER = Signer(b"k" * 32)
NUMBERS = {"offset": 0, "length": 5, "token": 7}


def signed(expires: float = 100.0) -> tuple[str, bytes]:
    path, _, query = SIGNER.sign("PUT", "/files/parts/3/1", NUMBERS, expires).partition("?")
    return path, query.encode()


def test_a_signed_url_gives_back_its_numbers() -> None:
    path, query = signed()
    assert SIGNER.check("PUT", path, query, now=99.0) == NUMBERS


def test_a_url_that_is_too_old_says_so_and_that_a_fresh_one_helps() -> None:
    path, query = signed()
    with pytest.raises(Expired) as caught:
        SIGNER.check("PUT", path, query, now=100.0)
    assert (caught.value.code, caught.value.status, caught.value.retry) == ("expired", 403, "later")


@pytest.mark.parametrize("method", ["GET", "POST", "put"])
def test_a_url_is_good_for_one_method(method: str) -> None:
    path, query = signed()
    with pytest.raises(Denied):
        SIGNER.check(method, path, query, now=0.0)


def test_a_url_is_good_for_one_path() -> None:
    _, query = signed()
    with pytest.raises(Denied):
        SIGNER.check("PUT", "/files/parts/4/1", query, now=0.0)


def test_another_key_does_not_check() -> None:
    path, query = signed()
    with pytest.raises(Denied):
        Signer(b"K" * 32).check("PUT", path, query, now=0.0)


def test_an_expired_url_with_a_wrong_signature_is_denied_not_expired() -> None:
    path, query = signed(expires=1.0)
    with pytest.raises(Denied) as caught:
        SIGNER.check("PUT", path, query.replace(b"length=5", b"length=6"), now=50.0)
    assert not isinstance(caught.value, Expired)


@given(st.data())
def test_no_changed_query_checks(data: st.DataObject) -> None:
    path, query = signed()
    at = data.draw(st.integers(0, len(query) - 1))
    other = query[:at] + data.draw(st.binary(max_size=3)) + query[at + 1 :]
    if other != query:
        with pytest.raises(Denied):
            SIGNER.check("PUT", path, other, now=0.0)


@given(st.binary())
def test_no_made_up_query_checks(query: bytes) -> None:
    with pytest.raises(Denied):
        SIGNER.check("PUT", "/files/parts/3/1", query, now=0.0)
