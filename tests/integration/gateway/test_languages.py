"""Messages in the caller's language; codes stay."""

import pytest

from gateway.codes import MEANINGS
from gateway.errors import STATUS
from gateway.languages import ENGLISH, LANGUAGES, catalogue, chosen, spoken
from tests.support.gateway import Door


def test_every_code_has_a_meaning_and_every_language_all_of_them() -> None:
    assert MEANINGS.keys() == STATUS.keys()
    for language in LANGUAGES:
        if language != ENGLISH:
            sentences = catalogue(language)
            assert sentences.keys() == {*MEANINGS.values()}
            assert len({*sentences.values()}) == len(sentences)
            assert not sentences.keys() & {*sentences.values()}


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("es-MX", "es"),
        ("fr, es;q=0.5", "es"),
        ("en;q=0.1, id", "id"),
        ("in-ID", "id"),
        ("*", "en"),
        ("zh;q=0, es;q=0.1", "es"),
        ("zh;q=x", "en"),
        ("zh;q=nan", "en"),
        ("z" * 600, "en"),
        (",;,=;q", "en"),
    ],
)
def test_language_is_the_best_of_the_header(header: str | None, language: str) -> None:
    assert chosen(header) == language


def test_spoken_error_keeps_its_code_and_its_english() -> None:
    error = {"code": "not_found", "message": "Expected a code", "details": {"a": 1}}
    told = spoken(error, "es")
    assert told["code"] == "not_found" and told["message"] == "No existe lo que buscas."
    assert told["details"] == {"a": 1, "english": "Expected a code"}
    assert spoken(error, "en") == error


async def test_errors_speak_the_callers_language(door: Door) -> None:
    for header, language, words in (
        ("id", "id", "Alamat ini tidak sah."),
        ("zh-TW", "zh", "地址无效。"),
        ("fr", "en", "Expected 0x and 40 hex digits"),
    ):
        async with door.session.get(
            f"{door.url}/api/tokens/0x0", headers={"Accept-Language": header}
        ) as response:
            answer = await response.json()
            assert (response.status, answer["error"]["code"]) == (400, "invalid_address")
            assert answer["error"]["message"] == words
            assert response.headers["Content-Language"] == language
    async with door.session.get(
        f"{door.url}/nowhere", headers={"Accept-Language": "es"}
    ) as response:
        assert (await response.json())["error"]["message"] == "No existe lo que buscas."
    _, config = await door.get("/api/config")
    assert config["data"]["languages"] == ["en", "id", "zh", "es"]
