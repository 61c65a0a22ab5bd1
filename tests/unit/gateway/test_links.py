"""Links of documents and profiles: what is taken, what is refused, and that nothing slips by."""

import re
from urllib.parse import urlsplit

import pytest
import yarl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.errors import CallerError
from gateway import links

OWN = "http://localhost:3000"
NAME = "ab" * 32
CID_0, CID_1 = "Qm" + "a" * 44, "bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq"

TAKEN = {
    links.website: (
        "https://goose.example",
        "HTTPS://Goose.Example:8443/a/b?c=d&e=%C3%A9#f",
        "https://xn--bcher-kva.example/",
        "https://a.xn--p1ai",
        f"https://{'a' * 63}.example/{'x' * 400}",
    ),
    links.telegram: (
        *("@goose_club", "goose_club", "https://t.me/goose_club", "https://T.me/goose_club/"),
        *("https://t.me/+AbCdEf-123456", "https://telegram.me/joinchat/AbCdEf_123456"),
    ),
    links.twitter: (
        *("@goose", "goose", "https://x.com/goose", "https://twitter.com/goose/status/1?s=20"),
        "https://www.x.com/goose",
    ),
    links.image: ("https://goose.example/a.png", f"ipfs://{CID_0}", f"ipfs://{CID_1}/a.png"),
}
NO_PAGE = (
    *("goose.example", "http://goose.example", "ftp://goose.example", "//goose.example"),
    *("javascript:alert(1)", "data:text/html,x", "https:goose.example", "https:/goose.example"),
    *("https://", "https:///x", "https://?x", "https://goose", "https://goose.example."),
    *("https://user@goose.example", "https://user:pass@goose.example", "https://@goose.example"),
    *("https://good.example@evil.example", "https://evil.example\\@good.example"),
    *("https://127.0.0.1", "https://2130706433", "https://0x7f.1", "https://0177.0.0.1"),
    *("https://[::1]/", "https://[::ffff:127.0.0.1]", "https://169.254.169.254/latest/meta-data"),
    *("https://localhost/", "https://a.localhost", "https://printer.local", "https://db.internal"),
    *("https://router.lan", "https://a.home.arpa", "https://wiki.corp/x"),
    *("https://goose.example:0", "https://goose.example:65536", "https://goose.example:x"),
    *("https://goose.example:", "https://goose.example:1:2", "https://goose..example"),
    *("https://-goose.example", "https://goose-.example", "https://go_ose.example"),
    *(f"https://{'a' * 64}.example", f"https://{'a.' * 126}example", "https://goose.1"),
    *("https://bücher.example", "https://\u0430pple.example", "https://goose。example"),
    *("https://xn--a.example", "https://xn--.example", "https://goose.example/\u00fc"),
    *("https://goose.example/a b", "https://goose.example/\n", "https://goose.example/\x00"),
    *("https://goose.example/%", "https://goose.example/%zz", 'https://goose.example/"><script>'),
    *(" https://goose.example", "https://goose.example ", "https://goose.example/\u202egpj"),
    "https://goose.example/" + "x" * 500,
)
NO_TELEGRAM = (
    *("@abcd", "@1goose", "@go ose", "@" + "g" * 33, "https://t.me", "https://t.me/"),
    *("https://t.me.evil.example/goose", "https://evil.example/t.me/goose", "http://t.me/goose"),
    *("https://t.me/goose/../x", "https://x.com/goose", "tg://resolve?domain=goose", "@"),
)
NO_TWITTER = (
    *("@" + "g" * 16, "@go-ose", "https://x.com", "https://x.com/", "https://x.com.evil.example/g"),
    *("https://evil.example/x.com/g", "http://x.com/goose", "https://nitter.example/goose", ""),
)
NO_IMAGE = (
    *(f"{OWN}/media/{NAME}.svg", f"{OWN}/media/../{NAME}.png", f"{OWN}/media/{NAME}.png?x"),
    *(f"{OWN}.evil.example/media/{NAME}.png", f"http://localhost:4000/media/{NAME}.png"),
    *("ipfs://x", "ipfs:x", f"ipfs://{CID_1}?x", f"IPFS://{CID_0}", f"ipfs://{CID_1}/a b"),
)


@pytest.mark.parametrize(
    ("check", "link"), [(check, link) for check, taken in TAKEN.items() for link in taken]
)
def test_link_that_is_good_stays_as_it_was_written(check, link: str) -> None:
    assert check(link) == link


@pytest.mark.parametrize(
    ("check", "link"),
    [
        *((links.website, link) for link in NO_PAGE),
        *((links.telegram, link) for link in (*NO_PAGE[1:], *NO_TELEGRAM)),
        *((links.twitter, link) for link in (*NO_PAGE[1:], *NO_TWITTER)),
        *((links.image, link) for link in (*NO_PAGE, *NO_IMAGE)),
    ],
)
def test_link_that_is_bad_is_invalid_link(check, link: str) -> None:
    with pytest.raises(CallerError) as caught:
        check(link)
    assert caught.value.code == "invalid_link"


def test_image_uploaded_here_is_taken_also_on_a_developers_machine() -> None:
    for name in (f"{NAME}.png", f"{NAME}.jpg", f"{NAME}-256.webp"):
        link = f"{OWN}/media/{name}"
        assert links.image(link, OWN) == link
        assert links.own_image(link) == links.own_image(link.replace(OWN, "")) == NAME
    for link in NO_IMAGE:
        with pytest.raises(CallerError):
            links.image(link, OWN)
    for link in ("https://goose.example/a.png", f"https://x.example/media/{NAME}.png/x", ""):
        assert links.own_image(link) is None


def test_host_of_another_alphabet_is_told_its_punycode() -> None:
    with pytest.raises(CallerError, match=r"as xn--80ak6aa92e\.com"):
        links.website("https://\u0430\u0440\u0440\u04cf\u0435.com/login")


PIECES = st.sampled_from(
    [
        *("https://", "http://", "@", ":", "/", "\\", ".", "?", "#", "%", "[", "]", "%2e", "%00"),
        *("a", "goose", "example", "com", "local", "localhost", "127.0.0.1", "xn--", "-", "0x7f"),
        *("é", "。", "\u200b", "\u202e", "\t", "443", "99999", "t.me", "x.com", "ipfs://", CID_0),
    ]
)
ANYTHING = st.lists(PIECES | st.characters(), max_size=12).map("".join)


@settings(deadline=None)
@example("https://a.example:0443/")
@given(ANYTHING | ANYTHING.map("https://".__add__) | ANYTHING.map("https://a.example".__add__))
def test_link_that_is_taken_means_one_thing_to_every_reader(link: str) -> None:
    """Whatever passes is https with a public name, by two other parsers as well."""
    try:
        assert links.website(link) == link
    except CallerError as error:
        assert error.code == "invalid_link"
        return
    standard, other = urlsplit(link), yarl.URL(link)
    assert standard.scheme == other.scheme == "https"
    assert standard.hostname == other.raw_host
    assert (standard.port or 443) == other.port
    assert standard.username is standard.password is other.user is None
    host = standard.hostname or ""
    assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z][a-z0-9-]+", host)
    assert link.isascii() and link.isprintable() and len(link) <= 500


@settings(deadline=None)
@given(ANYTHING)
def test_any_text_is_a_link_of_each_kind_or_invalid_link(link: str) -> None:
    for check in TAKEN:
        try:
            assert check(link) == link
        except CallerError as error:
            assert error.code == "invalid_link"
