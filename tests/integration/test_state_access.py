"""Tokens, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dray.core.access import Access, Principal
from dray.core.sweep import Answer
from dray.errors import Busy, Denied, NotFound, Refused, Unauthenticated, UsageError
from dray.model.views import TokenRequest, TokenView
from tests.integration.world import World, world_at

Story = Callable[[World], Awaitable[None]]


def play(url: str, story: Story) -> None:
    async def run() -> None:
        async with world_at(url) as world:
            await story(world)

    asyncio.run(run())


def secret_of(token: TokenView) -> str:
    assert isinstance(token.secret, str)
    return token.secret


def test_a_token_is_shown_once_and_known_by_its_secret(database_url: str) -> None:
    async def story(world: World) -> None:
        request = TokenRequest(name="lab", scopes=["write", "create"], datasets=["raw", "lab-*"])
        made = await world.access.create_token(world.admin, request)
        secret = secret_of(made)
        assert secret.startswith("dray_")
        assert len(secret) == 48
        assert made.prefix == secret[:13]
        who = await world.access.authenticate(secret)
        assert (who.token, who.name, who.scopes, who.datasets) == (
            made.token,
            "lab",
            frozenset(["write", "create"]),
            ("raw", "lab-*"),
        )
        assert await world.access.known(made.token) == who
        (shown,) = (await world.access.tokens(world.admin)).items
        assert not isinstance(shown.secret, str)
        assert shown.last_used == world.clock.wall()
        everything = str(await world.execute("SELECT * FROM tokens")) + str(await world.execute("SELECT * FROM events"))
        assert secret[13:] not in everything

    play(database_url, story)


def test_rights_end_where_the_token_says() -> None:
    lab = Principal(1, "lab", frozenset(["write"]), ("raw", "lab-*"))
    assert lab.may("write", "raw")
    assert lab.may("write", "lab-")
    assert not lab.may("write", "raw2")
    assert not lab.may("write", "Lab-1")
    assert not lab.may("read", "raw")
    with pytest.raises(Denied, match="may not write in dataset other"):
        lab.require("write", "other")
    admin = Principal(2, "admin", frozenset(["admin"]), ("raw",))
    assert admin.may("create", "raw")
    assert not admin.may("read", "other")
    assert Principal(3, "all", frozenset(["read"]), ("*",)).may("read", "anything")


@pytest.mark.parametrize("secret", ["", "dray_", "dray_" + "x" * 43, "\udcff", "\0"])
def test_what_is_no_token_is_refused(database_url: str, secret: str) -> None:
    async def story(world: World) -> None:
        with pytest.raises(Unauthenticated, match="not known"):
            await world.access.authenticate(secret)

    play(database_url, story)


def test_a_revoked_token_is_refused_at_once_here_and_within_five_seconds_elsewhere(database_url: str) -> None:
    async def story(world: World) -> None:
        elsewhere = Access(world.database, world.clock)
        made = await world.access.create_token(world.admin, TokenRequest(name="t", scopes=["read"]))
        for access in (world.access, elsewhere):
            assert (await access.authenticate(secret_of(made))).token == made.token
            assert (await access.known(made.token)).token == made.token
        gone = await world.access.revoke(world.admin, made.token)
        again = await world.access.revoke(world.admin, made.token)
        assert gone.revoked == again.revoked == world.clock.wall()
        world.clock.now += 5.0
        for access in (world.access, elsewhere):
            with pytest.raises(Unauthenticated, match="was revoked"):
                await access.authenticate(secret_of(made))
            with pytest.raises(Unauthenticated, match="was revoked"):
                await access.known(made.token)
        with pytest.raises(NotFound):
            await world.access.revoke(world.admin, 999_999)

    play(database_url, story)


def test_here_revocation_does_not_wait(database_url: str) -> None:
    async def story(world: World) -> None:
        made = await world.access.create_token(world.admin, TokenRequest(name="t", scopes=["read"]))
        await world.access.authenticate(secret_of(made))
        await world.access.revoke(world.admin, made.token)
        with pytest.raises(Unauthenticated):
            await world.access.authenticate(secret_of(made))

    play(database_url, story)


def test_a_token_ends_when_its_time_is_over(database_url: str) -> None:
    async def story(world: World) -> None:
        request = TokenRequest(name="t", scopes=["read"], expires=world.clock.wall() + 60)
        made = await world.access.create_token(world.admin, request)
        assert (await world.access.authenticate(secret_of(made))).name == "t"
        world.clock.now += 60
        with pytest.raises(Unauthenticated, match="has expired"):
            await world.access.authenticate(secret_of(made))

    play(database_url, story)


def test_use_is_noted_at_most_once_a_minute(database_url: str) -> None:
    async def story(world: World) -> None:
        made = await world.access.create_token(world.admin, TokenRequest(name="t", scopes=["read"]))
        for _ in range(3):
            await world.access.authenticate(secret_of(made))
            world.clock.now += 25
        assert (await world.access.tokens(world.admin)).items[0].last_used == world.clock.now - 75
        await world.access.authenticate(secret_of(made))
        assert (await world.access.tokens(world.admin)).items[0].last_used == world.clock.now

    play(database_url, story)


def test_only_administrators_make_tokens_and_never_beyond_their_own_datasets(database_url: str) -> None:
    async def story(world: World) -> None:
        plain = Principal(5, "plain", frozenset(["read", "write", "create"]))
        lab = Principal(6, "lab", frozenset(["admin"]), ("lab-*",))
        request = TokenRequest(name="t", scopes=["read"])
        for call in (
            world.access.create_token(plain, request),
            world.access.tokens(plain),
            world.access.revoke(plain, 1),
        ):
            with pytest.raises(Denied):
                await call
        for datasets in ([], ["raw"], ["*"], ["la*"]):
            with pytest.raises(Denied):
                await world.access.create_token(lab, TokenRequest(name="t", scopes=["read"], datasets=datasets))
        made = await world.access.create_token(lab, TokenRequest(name="t", scopes=["read"], datasets=["lab-1*"]))
        assert made.datasets == ["lab-1*"]
        for pattern in ("a b", "*x", "", ".x", "a\n"):
            with pytest.raises(UsageError):
                await world.access.create_token(
                    world.admin, TokenRequest(name="t", scopes=["read"], datasets=[pattern])
                )

    play(database_url, story)


def test_tokens_come_in_pages(database_url: str) -> None:
    async def story(world: World) -> None:
        for number in range(5):
            await world.access.create_token(world.admin, TokenRequest(name=f"t{number}", scopes=["read"]))
        first = await world.access.tokens(world.admin, None, 3)
        second = await world.access.tokens(world.admin, first.next, 3)
        assert [token.name for token in first.items + second.items] == [f"t{number}" for number in range(5)]
        assert second.next is None
        for cursor in ("x", "!!", "é", "InN0cmluZyI"):
            with pytest.raises(UsageError):
                await world.access.tokens(world.admin, cursor)

    play(database_url, story)


def test_the_first_start_makes_one_administrator_even_when_it_was_killed_before(database_url: str) -> None:
    async def story(world: World) -> None:
        written: list[str] = []

        def killed(secret: str) -> None:
            written.append(secret)
            raise OSError("killed here")

        with pytest.raises(OSError, match="killed here"):
            await world.access.ensure_admin(killed)
        made = await world.access.ensure_admin(written.append)
        assert made is not None
        assert (await world.access.authenticate(written[-1])).may("admin")
        with pytest.raises(Unauthenticated):
            await world.access.authenticate(written[0])
        assert await world.access.ensure_admin(written.append) is None
        assert len(written) == 2

    play(database_url, story)


def test_two_first_starts_at_once_make_one_administrator(database_url: str) -> None:
    async def story(world: World) -> None:
        written: list[str] = []
        made = await asyncio.gather(*(world.access.ensure_admin(written.append) for _ in range(4)))
        assert sum(token is not None for token in made) == 1
        assert len(written) == 1

    play(database_url, story)


def test_the_first_answer_to_a_key_is_given_again(database_url: str) -> None:
    async def story(world: World) -> None:
        first, second = Answer(200, "application/json", b"\x00first"), Answer(200, "application/json", b"second")
        other = Principal(7, "other", frozenset())
        assert await world.repeats.get(world.admin, "key", "digest") is None
        async with world.repeats.alone(world.admin, "key"):
            with pytest.raises(Busy):
                async with world.repeats.alone(world.admin, "key"):
                    raise AssertionError("never entered")
            async with world.repeats.alone(other, "key"):
                await world.repeats.put(world.admin, "key", "digest", first)
        await world.repeats.put(world.admin, "key", "digest", second)
        assert await world.repeats.get(world.admin, "key", "digest") == first
        assert await world.repeats.get(other, "key", "digest") is None
        with pytest.raises(Refused):
            await world.repeats.get(world.admin, "key", "another")
        world.clock.now += 86401
        await world.sweep.prune()
        assert await world.repeats.get(world.admin, "key", "digest") is None

    play(database_url, story)
