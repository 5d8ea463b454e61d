"""Signatures are those that AWS publishes and that its own library computes."""

from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from dray.transports.s3.sign import Call, Keys, Pairs, encoded, query_string, signed

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
# The examples of AWS's documentation, "Signature Calculations for the Authorization Header".
KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = "examplebucket.s3.amazonaws.com"
NOW = 1369353600.0


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ((("lifecycle", ""),), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ((("max-keys", "2"), ("prefix", "J")), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_signatures_are_those_of_the_documentation(query: Pairs, signature: str) -> None:
    headers = dict(signed(Call("GET", HOST, "/", query, payload=EMPTY), KEYS, "us-east-1", NOW))
    assert headers["Authorization"].endswith(f"Signature={signature}")
    assert headers["x-amz-date"] == "20130524T000000Z"


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@given(TEXT, TEXT, st.sampled_from(["GET", "PUT", "POST", "DELETE"]), st.sampled_from(["", "token/+="]))
def test_signatures_of_any_name_are_those_of_botocore(key: str, prefix: str, method: str, token: str) -> None:
    keys = Keys("access", "secret", token)
    path, query = f"/bucket/{encoded(key, safe='/')}", (("prefix", prefix), ("uploads", ""))
    own = dict(signed(Call(method, "host:8000", path, query, (("x-amz-meta-a", "b"),), EMPTY), keys, "eu-west-1", NOW))
    request = AWSRequest(method, f"https://host:8000{path}?{query_string(query)}", headers={"x-amz-meta-a": "b"})
    with patch("botocore.auth.get_current_datetime") as now:
        now.return_value = datetime.fromtimestamp(NOW, UTC)
        S3SigV4Auth(Credentials("access", "secret", token or None), "s3", "eu-west-1").add_auth(request)
    assert own["Authorization"].rpartition("=")[2] == request.headers["Authorization"].rpartition("=")[2]


def test_keys_are_never_shown() -> None:
    assert "secret" not in repr(Keys("access", "secret", "token")) + str(Keys("access", "secret", "token"))
