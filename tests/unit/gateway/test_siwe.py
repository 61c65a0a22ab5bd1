"""EIP-4361: what is read, what is refused, and the same answers as the library."""

from datetime import UTC, datetime, timedelta

import pytest

from engine.errors import CallerError
from gateway import siwe

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://risecurve.example"
FULL = f"""https://risecurve.example wants you to sign in with your Ethereum account:
{ADDRESS}

Trade on risecurve: it's free!

URI: {URL}/login?x=1#y
Version: 1
Chain ID: 11155931
Nonce: 32891756abcdEFGH
Issued At: 2026-03-01T12:00:00.123Z
Expiration Time: 2026-03-01T14:05:00+02:00
Not Before: 2026-03-01T11:00:00Z
Request ID: some-id
Resources:
- ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/
- https://example.com/my-web2-claim.json"""
SHORT = f"""risecurve.example wants you to sign in with your Ethereum account:
{ADDRESS}


URI: {URL}
Version: 1
Chain ID: 11155931
Nonce: 32891756
Issued At: 2026-03-01T12:00:00Z"""


def check(text: str, now: datetime = NOW) -> None:
    message = siwe.parse(text)
    siwe.check(message, public_url=URL, chain_id=11155931, now=now, lifetime_s=300)


def code_of(text: str, now: datetime = NOW) -> str:
    with pytest.raises(CallerError) as caught:
        check(text, now)
    return caught.value.code


def test_message_with_every_field_is_read() -> None:
    message = siwe.parse(FULL)
    assert (message.scheme, message.domain) == ("https", "risecurve.example")
    assert message.address == bytes.fromhex(ADDRESS[2:])
    assert (message.chain_id, message.nonce) == (11155931, "32891756abcdEFGH")
    assert message.expiration_time == datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    check(FULL)


def test_message_with_the_fewest_fields_is_read() -> None:
    message = siwe.parse(SHORT)
    assert (message.scheme, message.expiration_time, message.not_before) == (None, None, None)
    check(SHORT)


MALFORMED = {
    "empty": "",
    "not a message": "hello",
    "no domain": SHORT.replace("risecurve.example wants", " wants"),
    "domain with a path": SHORT.replace("risecurve.example wants", "risecurve.example/x wants"),
    "no empty line": SHORT.replace(f"{ADDRESS}\n\n\n", f"{ADDRESS}\n"),
    "one empty line": SHORT.replace(f"{ADDRESS}\n\n\n", f"{ADDRESS}\n\n"),
    "two statements": FULL.replace("it's free!", "it's\nfree!"),
    "statement beyond ASCII": FULL.replace("it's free!", "it\u2019s free"),
    "other order": SHORT.replace(
        "Version: 1\nChain ID: 11155931", "Chain ID: 11155931\nVersion: 1"
    ),
    "version 2": SHORT.replace("Version: 1", "Version: 2"),
    "chain of letters": SHORT.replace("11155931", "rise"),
    "chain in arabic digits": SHORT.replace("11155931", "\u0661"),
    "short nonce": SHORT.replace("32891756", "3289175"),
    "nonce with a sign": SHORT.replace("32891756", "3289-1756"),
    "no time": SHORT.replace("2026-03-01T12:00:00Z", "now"),
    "no such time": SHORT.replace("T12:00:00Z", "T25:00:00Z"),
    "time without zone": SHORT.replace("T12:00:00Z", "T12:00:00"),
    "more at the end": SHORT + "\nFine: print",
    "line at the end": SHORT + "\n",
    "carriage returns": SHORT.replace("\n", "\r\n"),
    "repeated field": SHORT + "\nIssued At: 2026-03-01T12:00:00Z",
    "resource that is no URI": FULL + "\n- x y",
    "too long": SHORT + "\nRequest ID: " + "x" * siwe.MESSAGE_CHARACTERS_MAX,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_message_is_invalid_request(case: str) -> None:
    assert code_of(MALFORMED[case]) == "invalid_request"


def test_address_with_a_wrong_checksum_is_invalid_address() -> None:
    assert code_of(SHORT.replace("BeAed", "BeAeD")) == "invalid_address"


REFUSED = {
    "domain": SHORT.replace("risecurve.example wants", "evil.example wants"),
    "sub-domain": SHORT.replace("risecurve.example wants", "a.risecurve.example wants"),
    "port": SHORT.replace("risecurve.example wants", "risecurve.example:444 wants"),
    "scheme": FULL.replace("https://risecurve.example wants", "http://risecurve.example wants"),
    "uri": SHORT.replace(f"URI: {URL}", "URI: https://evil.example"),
    "uri that begins alike": SHORT.replace(f"URI: {URL}", f"URI: {URL}.evil.example"),
    "uri with a user": SHORT.replace(f"URI: {URL}", "URI: https://risecurve.example@evil.example"),
    "uri of another scheme": SHORT.replace(f"URI: {URL}", "URI: http://risecurve.example"),
    "issued in the future": SHORT.replace("T12:00:00Z", "T12:01:01Z"),
    "issued too long ago": SHORT.replace("T12:00:00Z", "T11:53:59Z"),
    "expired": FULL.replace("T14:05:00+02:00", "T14:00:00+02:00"),
    "not valid yet": FULL.replace(
        "Not Before: 2026-03-01T11:00:00Z", "Not Before: 2026-03-01T12:00:01Z"
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_message_not_meant_for_us_now_is_unauthorized(case: str) -> None:
    assert code_of(REFUSED[case]) == "unauthorized"


def test_message_for_another_chain_is_wrong_chain() -> None:
    assert code_of(SHORT.replace("11155931", "1")) == "wrong_chain"


def test_message_is_good_for_its_lifetime_and_the_skew_of_clocks() -> None:
    check(SHORT, NOW + timedelta(seconds=360))
    check(SHORT, NOW - timedelta(seconds=60))
    assert code_of(SHORT, NOW + timedelta(seconds=361)) == "unauthorized"


def test_reading_agrees_with_the_library() -> None:
    library = pytest.importorskip("siwe").SiweMessage
    for text in (FULL, SHORT, FULL.replace("Trade on risecurve: it's free!\n", "")):
        ours, theirs = siwe.parse(text), library.from_message(text)
        assert (ours.domain, ours.uri, ours.nonce) == (theirs.domain, theirs.uri, theirs.nonce)
        assert "0x" + ours.address.hex() == theirs.address.lower()
        assert ours.chain_id == theirs.chain_id
    for case in MALFORMED.keys() - {"too long"}:
        with pytest.raises(ValueError):
            library.from_message(MALFORMED[case])
