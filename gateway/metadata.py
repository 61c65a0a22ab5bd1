"""The token document and its hash: keccak of the RFC 8785 canonical JSON.

Over the seven fields of a create request, in NFC, absent ones left out. All values are
strings, so canonical JSON is: keys sorted, no white space, the shortest escapes.
"""

import json
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from eth_hash.auto import keccak

from engine.errors import CallerError
from engine.rows import TokenRecord

FIELDS = ("name", "symbol", "description", "imageUrl", "website", "telegram", "twitter")


def normalise(text: str) -> str:
    """NFC, so that one text has one hash however it was typed."""
    return unicodedata.normalize("NFC", text)


def document(fields: Mapping[str, str | None]) -> dict[str, str]:
    """What is stored and hashed: of FIELDS those that are there, in NFC."""
    found = {name: fields.get(name) for name in FIELDS}
    return {name: normalise(value) for name, value in found.items() if value is not None}


def canonical(fields: Mapping[str, str]) -> bytes:
    """RFC 8785 of an object of strings with ASCII keys, for which code units sort as text.

    Raises UnicodeEncodeError for a lone surrogate, which no UTF-8 text can hold.
    """
    assert all(key.isascii() for key in fields), "Expected ASCII keys"
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def metadata_hash(fields: Mapping[str, str]) -> bytes:
    """32 bytes; it goes into the launch, so the document can be checked for ever."""
    return _keccak(canonical(fields))


@lru_cache(maxsize=4_096)  # a tenth of a millisecond each, on every row of every list
def _keccak(text: bytes) -> bytes:
    return keccak(text)


def check(record: TokenRecord, document: Mapping[str, str]) -> None:
    """Raises CallerError("metadata_mismatch") for a document that is not the token's: its launch
    holds another hash, or other names than the document says.
    """
    hashed = metadata_hash(document)
    if hashed != record.metadata_hash:
        raise CallerError(
            "metadata_mismatch",
            f"Expected the document of hash 0x{record.metadata_hash.hex()}, was 0x{hashed.hex()}",
        )
    names = (normalise(record.name), normalise(record.symbol))
    if names != (document.get("name"), document.get("symbol")):
        raise CallerError("metadata_mismatch", "Expected the name and symbol of the token")


def of(record: TokenRecord, found: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The document to show with a token; None for one that is not the token's."""
    if found is None:
        return None
    try:
        check(record, found)
    except CallerError:
        return None
    return found
