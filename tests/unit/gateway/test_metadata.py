"""The token document: RFC 8785 canonical JSON and its keccak."""

import json

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from gateway import metadata

VECTORS = [
    (
        {"name": "Goose", "symbol": "GOOSE"},
        b'{"name":"Goose","symbol":"GOOSE"}',
        "79e3c2a06a6d8f8f",
    ),
    # Keys in order of their code units, whatever order they came in; absent ones left out.
    (
        {"website": "https://a.example", "symbol": "G", "name": "G", "imageUrl": "ipfs://x"},
        b'{"imageUrl":"ipfs://x","name":"G","symbol":"G","website":"https://a.example"}',
        "",
    ),
    # The escapes of RFC 8785 section 3.2.2.2: two letters where there are, else \u00xx.
    (
        {"name": '"\\\b\f\n\r\t\x01\x1f/\x7f', "symbol": "S"},
        b'{"name":"\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f/\x7f","symbol":"S"}',
        "",
    ),
    # Other text is UTF-8 as it stands.
    (
        {"name": "\u20ac\u00e9\U0001f600", "symbol": "\u05d0"},
        '{"name":"\u20ac\u00e9\U0001f600","symbol":"\u05d0"}'.encode(),
        "",
    ),
]


@pytest.mark.parametrize(("fields", "canonical", "_"), VECTORS)
def test_canonical_vector_has_these_bytes(fields: dict[str, str], canonical: bytes, _: str) -> None:
    assert metadata.canonical(fields) == canonical
    assert metadata.metadata_hash(fields) == keccak(canonical)


def test_hash_vector_is_this_number() -> None:
    found = metadata.metadata_hash({"symbol": "GOOSE", "name": "Goose"})
    assert found.hex() == HASH


HASH = keccak(b'{"name":"Goose","symbol":"GOOSE"}').hex()


def test_document_leaves_out_absent_keys_and_keeps_empty_ones() -> None:
    fields = {"name": "G", "symbol": "S", "description": "", "twitter": None, "other": "x"}
    assert metadata.document(fields) == {"name": "G", "symbol": "S", "description": ""}


def test_document_is_in_nfc() -> None:
    composed, decomposed = {"name": "é", "symbol": "S"}, {"name": "e\u0301", "symbol": "S"}
    assert metadata.document(decomposed) == composed


def test_canonical_of_a_lone_surrogate_raises() -> None:
    with pytest.raises(UnicodeEncodeError):
        metadata.canonical({"name": "\ud800"})


@given(st.dictionaries(st.sampled_from(metadata.FIELDS), st.text(st.characters(exclude_categories=["Cs"]))))
def test_canonical_reads_back_and_does_not_depend_on_order(fields: dict[str, str]) -> None:
    text = metadata.canonical(fields)
    assert json.loads(text) == fields
    assert metadata.canonical(dict(reversed(fields.items()))) == text
