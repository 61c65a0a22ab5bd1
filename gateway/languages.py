"""Messages in the caller's language: gettext catalogues, one sentence a code.

Codes are never translated. An answer in another language keeps its English sentence, which
says what was expected, in `details.english`.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.pofile import read_po

from gateway.codes import MEANINGS

ENGLISH = "en"
LANGUAGES = (ENGLISH, "id", "zh", "es")
HEADER_CHARACTERS_MAX = 500

_FOLDER = Path(__file__).parent / "locales"


def chosen(header: str | None) -> str:
    """One of LANGUAGES by an Accept-Language header (RFC 9110, 12.5.4); English otherwise."""
    if not header or len(header) > HEADER_CHARACTERS_MAX:
        return ENGLISH
    wanted = []
    for place, one in enumerate(header.split(",")):
        tag, _, rest = one.strip().partition(";")
        weight = _weight(rest)
        language = tag.strip().split("-")[0].lower()
        language = ENGLISH if language == "*" else {"in": "id"}.get(language, language)
        if language in LANGUAGES and weight > 0:
            wanted.append((-weight, place, language))
    return min(wanted)[2] if wanted else ENGLISH


def spoken(error: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The `error` of an answer in this language."""
    meaning = MEANINGS.get(str(error["code"]))
    if language == ENGLISH or meaning is None:
        return dict(error)
    details = dict(error.get("details") or {}) | {"english": error["message"]}
    return {**error, "message": catalogue(language)[meaning], "details": details}


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """English sentence → this language's. Raises KeyError for one that is not translated."""
    with (_FOLDER / f"{language}.po").open("rb") as file:
        read = read_po(file, locale=language, charset="utf-8")
    return {str(one.id): str(one.string) for one in read if one.id and one.string}


def _weight(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if not name:
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
