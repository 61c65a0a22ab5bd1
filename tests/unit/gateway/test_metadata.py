"""The token document: RFC 8785 canonical JSON and its keccak."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import metadata

# The hashes are those of JSON.stringify (which RFC 8785 is defined by) and js-sha3 in Node.
VECTORS = [
    (
        {"symbol": "GOOSE", "name": "Goose"},
        b'{"name":"Goose","symbol":"GOOSE"}',
        "19d8087db3cab2c3755ecefc23f7b235879650934a16255330062de5582cdf6d",
    ),
    # Keys in the order of their code units; absent ones left out.
    (
        {"website": "https://a.example", "symbol": "G", "name": "G", "imageUrl": "ipfs://x"},
        b'{"imageUrl":"ipfs://x","name":"G","symbol":"G","website":"https://a.example"}',
        "88e945f9e5d759c5aebc1e8889004577a60814d92c27d4894460e031fabebfe0",
    ),
    # The escapes of section 3.2.2.2: two characters where there are, else \u00xx.
    (
        {"name": '"\\\b\f\n\r\t\x01\x1f/\x7f', "symbol": "S"},
        b'{"name":"\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f/\x7f","symbol":"S"}',
        "57fcfc0246ac84471114957e1ad43d756f2894c3bba27f083a2650959ecd995d",
    ),
    # Other text is UTF-8 as it stands.
    (
        {"name": "\u20ac\u00e9\U0001f600", "symbol": "\u05d0"},
        '{"name":"\u20ac\u00e9\U0001f600","symbol":"\u05d0"}'.encode(),
        "0d4b0060f8a4de94f0a27164cfddf01235e643f3df2384feede0299aef6c707f",
    ),
]


@pytest.mark.parametrize(("fields", "canonical", "hashed"), VECTORS)
def test_canonical_vector_has_these_bytes_and_this_hash(
    fields: dict[str, str], canonical: bytes, hashed: str
) -> None:
    assert metadata.canonical(fields) == canonical
    assert metadata.metadata_hash(fields).hex() == hashed


def test_document_leaves_out_absent_keys_and_keeps_empty_ones() -> None:
    fields = {"name": "G", "symbol": "S", "description": "", "twitter": None, "other": "x"}
    assert metadata.document(fields) == {"name": "G", "symbol": "S", "description": ""}


def test_document_is_in_nfc() -> None:
    composed, decomposed = {"name": "é", "symbol": "S"}, {"name": "e\u0301", "symbol": "S"}
    assert metadata.document(decomposed) == composed


def test_canonical_of_a_lone_surrogate_raises() -> None:
    with pytest.raises(UnicodeEncodeError):
        metadata.canonical({"name": "\ud800"})


@settings(deadline=None)  # of a busy machine
@given(
    st.dictionaries(
        st.sampled_from(metadata.FIELDS), st.text(st.characters(exclude_categories=["Cs"]))
    )
)
def test_canonical_reads_back_and_does_not_depend_on_order(fields: dict[str, str]) -> None:
    text = metadata.canonical(fields)
    assert json.loads(text) == fields
    assert metadata.canonical(dict(reversed(fields.items()))) == text
