"""The token document and its hash: keccak of the RFC 8785 canonical JSON.

Over the seven fields of a create request, in NFC, absent ones left out. All values are
strings, so canonical JSON is: keys sorted, no white space, the shortest escapes.
"""

import json
import unicodedata
from collections.abc import Mapping

from eth_hash.auto import keccak

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
    return keccak(canonical(fields))
