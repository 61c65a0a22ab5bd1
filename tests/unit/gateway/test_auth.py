"""Access tokens by the table of RFC 8725: what is forged is refused."""

import base64
import json
from typing import Any

import jwt
import pytest

from engine.errors import CallerError
from gateway.auth import AccessTokens, access_tokens, bearer
from tests.support.gateway import SECRET, settings

ADDRESS = bytes(range(20))
NOW = 1_800_000_000
SID = "ab" * 16
OLD_SECRET = "an older secret that is also long enough"


def tokens(clock: float = NOW, **fields: Any) -> AccessTokens:
    values = {"issuer": "risecurve", "audience": "risecurve-api", "lifetime_s": 900} | fields
    keys = {"new": SECRET, "old": OLD_SECRET}
    return AccessTokens(keys, kid=values.pop("kid", "new"), clock=lambda: clock, **values)


def claims(**fields: Any) -> dict[str, Any]:
    values = {
        "sub": "0x" + ADDRESS.hex(),
        "chainId": 11155931,
        "role": "user",
        "sid": SID,
        "iss": "risecurve",
        "aud": "risecurve-api",
        "iat": NOW,
        "exp": NOW + 900,
    }
    return {name: value for name, value in (values | fields).items() if value is not None}


def made(
    payload: dict[str, Any] | None = None,
    *,
    secret: str = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
) -> str:
    head = {"kid": "new"} if headers is None else headers
    return jwt.encode(payload or claims(), secret, algorithm, headers=head)


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: str = "") -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(one).encode()) for one in (header, payload))
    return ".".join([*(part.decode().rstrip("=") for part in parts), signature])


def test_token_issued_is_read_with_its_claims() -> None:
    token = tokens().issue(address=ADDRESS, chain_id=11155931, role="admin", sid=SID)
    identity = tokens(NOW + 899).read(token)
    assert (identity.address, identity.role, identity.sid) == (ADDRESS, "admin", SID)
    assert (identity.chain_id, identity.expires_at) == (11155931, NOW + 900)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": "new"}
    read = jwt.decode(token, options={"verify_signature": False})
    assert read.keys() == {"sub", "chainId", "role", "sid", "iss", "aud", "iat", "exp"}


def test_token_of_an_older_key_is_read_while_the_key_is_kept() -> None:
    token = tokens(kid="old").issue(address=ADDRESS, chain_id=1, role="user", sid=SID)
    assert tokens().read(token).address == ADDRESS


FORGED = {
    "empty": "",
    "no token": "abc",
    "two parts": "a.b",
    "not base64": "!.!.!",
    "none": unsigned({"alg": "none", "kid": "new"}, claims()),
    "None": unsigned({"alg": "None", "kid": "new"}, claims()),
    "no algorithm": unsigned({"kid": "new"}, claims()),
    "our algorithm unsigned": unsigned({"alg": "HS256", "kid": "new"}, claims()),
    "other secret": made(secret="another secret of enough characters!"),
    "secret of the other key": made(secret=OLD_SECRET),
    "no kid": made(headers={}),
    "unknown kid": made(headers={"kid": "newer"}),
    "kid that is a path": made(headers={"kid": "../../dev/null"}),
    "kid that is a number": unsigned({"alg": "HS256", "kid": 7}, claims(), "AAAA"),
    "kid that is a list": unsigned({"alg": "HS256", "kid": ["new"]}, claims(), "AAAA"),
    "header that is a list": unsigned([], claims(), "AAAA"),  # type: ignore[arg-type]
    "key in the header": made(headers={"jwk": {"kty": "oct", "k": "AAAA"}}),
    "critical extension": made(headers={"kid": "new", "crit": ["x"], "x": 1}),
    "expired": made(claims(exp=NOW)),
    "issued in the future": made(claims(iat=NOW + 61)),
    "issuer": made(claims(iss="somebody")),
    "audience": made(claims(aud="another-api")),
    "no expiry": made(claims(exp=None)),
    "no issuer": made(claims(iss=None)),
    "no audience": made(claims(aud=None)),
    "no subject": made(claims(sub=None)),
    "no session": made(claims(sid=None)),
    "no chain": made(claims(chainId=None)),
    "no role": made(claims(role=None)),
    "subject that is no address": made(claims(sub="0x12")),
    "role of nobody": made(claims(role="root")),
    "role that is a list": made(claims(role=["admin"])),
    "session of another shape": made(claims(sid="../x")),
    "session that is a number": made(claims(sid=7)),
    "expiry that is text": made(claims(exp=str(NOW + 900))),
    "expiry that is a fraction": made(claims(exp=NOW + 900.5)),
    "expiry that is true": made(claims(exp=True)),
    "chain that is true": made(claims(chainId=True)),
    "too long": made(claims(more="x" * 3_000)),
}


@pytest.mark.parametrize("case", FORGED)
def test_token_forged_is_unauthorized(case: str) -> None:
    with pytest.raises(CallerError) as caught:
        tokens().read(FORGED[case])
    assert caught.value.code == "unauthorized"


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_token_of_another_algorithm_with_the_right_secret_is_unauthorized(algorithm: str) -> None:
    # Long enough for every algorithm: nothing but the algorithm is wrong.
    secret = "s" * 64
    reader = AccessTokens(
        {"new": secret},
        kid="new",
        issuer="risecurve",
        audience="risecurve-api",
        lifetime_s=900,
        clock=lambda: NOW,
    )
    assert reader.read(made(secret=secret)).address == ADDRESS
    with pytest.raises(CallerError) as caught:
        reader.read(made(secret=secret, algorithm=algorithm))
    assert caught.value.code == "unauthorized"


def test_token_with_a_changed_byte_is_unauthorized() -> None:
    token = tokens().issue(address=ADDRESS, chain_id=1, role="user", sid=SID)
    for at in range(0, len(token) - 1, 7):
        other = "A" if token[at] != "A" else "B"
        with pytest.raises(CallerError):
            tokens().read(token[:at] + other + token[at + 1 :])


def test_key_id_follows_the_secret_and_does_not_hold_it() -> None:
    ids = set()
    for secret in (SECRET, OLD_SECRET):
        token = access_tokens(settings(jwt_secret=secret)).issue(
            address=ADDRESS, chain_id=1, role="user", sid=SID
        )
        ids.add(jwt.get_unverified_header(token)["kid"])
    assert len(ids) == 2
    assert not any(kid in SECRET + OLD_SECRET for kid in ids)


def test_bearer_reads_the_header_and_refuses_others() -> None:
    assert bearer("Bearer abc") == bearer("bearer  abc ") == "abc"
    for header in (None, "", "abc", "Bearer", "Bearer ", "Basic abc"):
        with pytest.raises(CallerError):
            bearer(header)
