"""What staging a file means: every rule of the decision, without a database."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dray.core.staging import STALE, Done, HashFirst, Open, Resume, decide
from dray.errors import Conflict, DrayError, SourceBusy
from dray.model.views import StageFile
from dray.state.uploads import Head, Live

NOW = 1000.0
HASH = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def asked(**more: object) -> StageFile:
    return StageFile(**({"path": "a", "size": 10, "version": "v", "source": "s"} | more))  # type: ignore[arg-type]


def live(state: str = "pending", **more: object) -> Live:
    values = {"version": "v", "source": "s", "size": 10, "part_size": 4, "updated": NOW, "job": None} | more
    return Live(upload=7, state=state, **values)  # type: ignore[arg-type]


CURRENT = Head(1, "a", 1, 10, HASH, True, True, True, live("accepted"))
ARRIVING = Head(2, "a", 2, 10, None, False, False, False, live())


def test_a_new_path_gets_version_one() -> None:
    assert decide(asked(), [], NOW) == Open(1)


def test_an_unpublished_version_without_an_upload_is_used_again() -> None:
    left = msgspec.structs.replace(ARRIVING, live=None, version_number=1)
    assert decide(asked(), [left], NOW) == Open(1, left.file)


def test_a_published_path_gets_the_next_version() -> None:
    assert decide(asked(size=11, version="w"), [CURRENT], NOW) == Open(2)


def test_after_versions_that_retention_removed_numbers_go_on() -> None:
    gone = Head(9, "a", 8, 10, HASH, True, False, False, None)
    assert decide(asked(), [gone], NOW) == Open(9)


def test_the_same_content_is_done_whatever_its_version() -> None:
    assert isinstance(decide(asked(version="w", source="t", checksum=HASH), [CURRENT], NOW), Done)
    assert isinstance(decide(asked(version="w", source="t", checksum=HASH), [CURRENT, ARRIVING], NOW), Done)


def test_the_same_version_of_the_same_source_is_done_without_a_checksum() -> None:
    assert isinstance(decide(asked(), [CURRENT], NOW), Done)
    assert isinstance(decide(asked(source="t"), [CURRENT], NOW), HashFirst)
    assert isinstance(decide(asked(version="w"), [CURRENT], NOW), HashFirst)


def test_a_checksum_says_more_than_a_version() -> None:
    assert decide(asked(checksum=OTHER), [CURRENT], NOW) == Open(2)


def test_damaged_content_is_neither_done_nor_hashed_first() -> None:
    damaged = msgspec.structs.replace(CURRENT, verified=False)
    assert decide(asked(), [damaged], NOW) == Open(2)
    assert decide(asked(checksum=HASH), [damaged], NOW) == Open(2)


def test_what_is_refused_to_exist_is_refused_only_when_it_differs() -> None:
    assert isinstance(decide(asked(on_exists="fail", checksum=HASH), [CURRENT], NOW), Done)
    assert isinstance(decide(asked(on_exists="fail", version="w"), [CURRENT], NOW), HashFirst)
    assert isinstance(decide(asked(on_exists="fail", checksum=OTHER), [CURRENT], NOW), Conflict)
    assert isinstance(decide(asked(on_exists="fail", size=11), [CURRENT], NOW), Conflict)


def test_an_upload_on_its_way_is_resumed_by_its_own_version() -> None:
    assert isinstance(decide(asked(), [CURRENT, ARRIVING], NOW), Resume)
    uploaded = msgspec.structs.replace(ARRIVING, live=live("uploaded"))
    assert isinstance(decide(asked(), [uploaded], NOW + 10 * STALE), Resume)


def test_its_own_source_takes_over_at_once_and_another_one_when_it_is_stale() -> None:
    heads = [CURRENT, ARRIVING]
    assert decide(asked(version="w", size=11), heads, NOW) == Open(2, 2, ARRIVING.live)
    assert isinstance(decide(asked(source="t", size=11), heads, NOW + STALE), SourceBusy)
    assert decide(asked(source="t", size=11), heads, NOW + STALE + 1) == Open(2, 2, ARRIVING.live)
    uploaded = [msgspec.structs.replace(ARRIVING, live=live("uploaded"))]
    assert isinstance(decide(asked(source="t", size=11), uploaded, NOW + 10 * STALE), SourceBusy)


def test_an_unfinished_upload_is_not_ended_before_the_new_content_is_known_to_be_new() -> None:
    assert isinstance(decide(asked(version="w"), [CURRENT, ARRIVING], NOW), HashFirst)


@given(
    st.booleans(),
    st.booleans(),
    st.sampled_from(["pending", "uploaded"]),
    st.sampled_from(["v", "w"]),
    st.sampled_from(["s", "t"]),
    st.sampled_from([10, 11]),
    st.sampled_from([None, HASH, OTHER]),
    st.sampled_from(["fail", "version", "replace"]),
    st.floats(0, 2 * STALE),
)
def test_no_decision_calls_other_content_done_or_ends_a_strangers_work(
    published: bool,
    moving: bool,
    state: str,
    version: str,
    source: str,
    size: int,
    checksum: str | None,
    on_exists: str,
    age: float,
) -> None:
    heads = [CURRENT] * published + [msgspec.structs.replace(ARRIVING, live=live(state))] * moving
    wanted = asked(version=version, source=source, size=size, checksum=checksum, on_exists=on_exists)
    decision = decide(wanted, heads, NOW + age)
    if isinstance(decision, Done):
        assert published
        assert size == CURRENT.size
        assert checksum == HASH or (checksum is None and (version, source) == ("v", "s"))
    if isinstance(decision, Open) and decision.ends:
        assert source == "s" or (state == "pending" and age > STALE)
    if isinstance(decision, Open):
        assert decision.version_number == (2 if published or moving else 1)
        assert not (published and on_exists == "fail")
    if isinstance(decision, Resume):
        assert (version, source, size) == ("v", "s", 10)
    assert isinstance(decision, Done | HashFirst | Resume | Open | DrayError)
