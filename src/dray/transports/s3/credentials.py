"""Whose requests they are: keys from the environment, else whatever botocore finds where users of AWS put it."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

from dray.errors import DrayError, Unauthenticated, UsageError
from dray.model.values import Value
from dray.threads import in_thread
from dray.transports.s3.settings import S3Settings
from dray.transports.s3.sign import Keys

HINT = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws with AWS_PROFILE"
REGION = "us-east-1"
"""What services that have no regions call theirs."""


class _Frozen(Protocol):
    access_key: str
    secret_key: str
    token: str | None


class _Refreshing(Protocol):
    """Credentials of botocore, which renew themselves; that may ask a service."""

    def get_frozen_credentials(self) -> _Frozen: ...


class Account(Value, frozen=True):
    """Where requests go and whose they are; ``keys`` are asked for each time, since they may be short-lived."""

    endpoint: str
    region: str
    static: Keys | None = None
    refreshing: _Refreshing | None = None

    async def keys(self) -> Keys:
        """Return keys that are good now."""
        if self.static is not None:
            return self.static
        return await in_thread(None, self._refreshed)

    def _refreshed(self) -> Keys:
        if self.refreshing is None:
            raise Unauthenticated("there are no credentials for S3", hint=HINT)
        try:
            frozen = self.refreshing.get_frozen_credentials()
        except DrayError:
            raise
        except Exception as error:
            raise Unauthenticated(f"credentials could not be renewed: {type(error).__name__}", hint=HINT) from error
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or "")


def account(settings: S3Settings, environ: Mapping[str, str] = os.environ) -> Account:
    """Find the credentials, and what of the address the settings leave open. Blocks."""
    endpoint = settings.endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
    region = settings.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    access, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if access and secret and not settings.profile:
        keys = Keys(access, secret, environ.get("AWS_SESSION_TOKEN", ""))
        return Account(endpoint.rstrip("/"), region or REGION, keys)
    return _of_botocore(settings, endpoint, region)


def _of_botocore(settings: S3Settings, endpoint: str, region: str) -> Account:
    try:
        botocore = import_module("botocore.session")
    except ImportError:
        hint = f"{HINT}; files and roles are read by botocore: pip install 'dray[s3]'"
        raise Unauthenticated("there are no credentials for S3 in the environment", hint=hint) from None
    try:
        session = botocore.get_session()
        session.set_config_variable("profile", settings.profile or session.get_config_variable("profile"))
        found = session.get_credentials()
        endpoint = endpoint or session.get_scoped_config().get("endpoint_url", "")
        region = region or session.get_config_variable("region") or REGION
    except Exception as error:
        raise UsageError(f"the configuration of AWS cannot be used: {error}", hint="see ~/.aws/config") from error
    if found is None:
        raise Unauthenticated("there are no credentials for S3", hint=HINT)
    return Account(endpoint.rstrip("/"), region, refreshing=found)
