"""Who may do what: tokens, what they prove, and the rights they carry."""

from collections.abc import Callable

from dray.clock import Clock
from dray.errors import Denied
from dray.model.values import Value
from dray.model.views import Scope, TokenPage, TokenRequest, TokenView
from dray.state.database import Database


class Principal(Value, frozen=True):
    """Who asks: a token by its number and name, and what it may do. No ``datasets`` means all of them."""

    token: int
    name: str
    scopes: frozenset[str]
    datasets: tuple[str, ...] = ()

    def may(self, scope: Scope, dataset: str | None = None) -> bool:
        """Say whether ``scope`` is granted (admin grants every scope), for ``dataset`` when one is named."""
        granted = scope in self.scopes or "admin" in self.scopes
        return granted and (dataset is None or self.covers(dataset))

    def covers(self, dataset: str) -> bool:
        """Say whether ``dataset`` is one of those the token is restricted to (a trailing ``*`` takes any ending)."""
        return not self.datasets or any(_matches(pattern, dataset) for pattern in self.datasets)

    def require(self, scope: Scope, dataset: str | None = None) -> None:
        """Raise Denied unless ``may(scope, dataset)``."""
        if not self.may(scope, dataset):
            where = f" in dataset {dataset}" if dataset and not self.covers(dataset) else ""
            raise Denied(
                f"token {self.name!r} may not {scope}{where}", hint="ask an administrator for a token that may"
            )


def _matches(pattern: str, dataset: str) -> bool:
    return dataset.startswith(pattern[:-1]) if pattern.endswith("*") else dataset == pattern


class Access:
    """Makes, checks and revokes tokens. A revoked token is refused within 5 s in every process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def authenticate(self, secret: str) -> Principal:
        """Return whose token ``secret`` is, or raise Unauthenticated (unknown, expired or revoked)."""
        raise NotImplementedError

    async def known(self, token: int) -> Principal:
        """Return the principal of a token by its number, or raise Unauthenticated as ``authenticate`` does.

        For what a token was used to sign (URLs of parts and files, sessions of the web pages), so that it ends with it.
        Cheap to call for every part: looked up at most every few seconds.
        """
        raise NotImplementedError

    async def create_token(self, who: Principal, request: TokenRequest) -> TokenView:
        """Make a token and return it with its ``secret``, which is stored only as a hash. Needs ``admin``.

        Nobody can give a scope or dataset that they do not have.
        """
        raise NotImplementedError

    async def tokens(self, who: Principal, cursor: str | None = None, limit: int = 100) -> TokenPage:
        """Return a page of all tokens, the newest last, without secrets. Needs ``admin``."""
        raise NotImplementedError

    async def revoke(self, who: Principal, token: int) -> TokenView:
        """Make a token useless now and for ever; revoking again changes nothing. Needs ``admin``."""
        raise NotImplementedError

    async def ensure_admin(self, secret_writer: Callable[[str], None]) -> TokenView | None:
        """Make the first administrator's token when there is no token at all; return it, or None when there are some.

        ``secret_writer`` is called in a database thread before the commit and must have stored the secret durably
        when it returns; killed in between, the next start makes another one.
        """
        raise NotImplementedError
