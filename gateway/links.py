"""Links that launches and profiles may hold: text that is checked and never followed.

Nothing here, and nothing else at the doors, fetches what a link names: there is no request that
a stranger could aim at an inner host. What is refused is what would harm a reader: a scheme
that runs, a host that looks like another, a name inside the reader's own network.

A link is kept as it was written, for its document's hash is over these characters. So a host is
refused in any alphabet but ASCII, and shows for ever as `xn--…`, which is what browsers show
of names that imitate others.
"""

import re
from contextlib import suppress

import idna

from engine.errors import CallerError
from engine.limits import LINK_CHARACTERS_MAX

MEDIA_PATH = "/media/"
MEDIA_NAME = r"[0-9a-f]{64}(?:-256)?\.(?:png|jpg|webp)"

TELEGRAM_HOSTS = frozenset({"t.me", "telegram.me", "telegram.dog"})
TWITTER_HOSTS = frozenset(
    {"x.com", "www.x.com", "mobile.x.com"}
    | {"twitter.com", "www.twitter.com", "mobile.twitter.com"}
)
# Names that mean something inside a reader's own network (RFC 6761, 6762, 8375, 9476).
_INNER = frozenset(
    {"localhost", "local", "internal", "arpa", "alt", "invalid"}
    | {"localdomain", "intranet", "lan", "home", "corp", "private"}
)

_HOST_CHARACTERS_MAX = 253
# RFC 3986, its reserved and unreserved characters, less those that no browser sends as they are.
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_WEB = re.compile(r"https://([^/?#]*)([/?#].*)?", re.IGNORECASE)
_PORT = re.compile(r":([1-9][0-9]{0,4})")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOP_LABEL = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,58}[a-z0-9]")
_TELEGRAM = re.compile(r"@?[A-Za-z][A-Za-z0-9_]{4,31}")
_TELEGRAM_PATH = re.compile(r"/(?:[A-Za-z][A-Za-z0-9_]{4,31}|\+[\w-]{8,64}|joinchat/[\w-]{8,64})/?")
_TWITTER = re.compile(r"@?[A-Za-z0-9_]{1,15}")
_TWITTER_PATH = re.compile(r"/[A-Za-z0-9_]{1,15}(?:/.*)?")
# Version 0 in base58, or version 1 in base32, then perhaps a path.
_IPFS = re.compile(r"ipfs://(?:Qm[1-9A-HJ-NP-Za-km-z]{44}|b[a-z2-7]{50,110})(?:/[^?#]*)?")
_OWN = re.compile(rf"{MEDIA_PATH}({MEDIA_NAME})")


def website(link: str) -> str:
    """A page of the web, over TLS. Raises CallerError("invalid_link")."""
    _parts(link)
    return link


def telegram(link: str) -> str:
    """A name such as @someone, or a page of Telegram. Raises CallerError("invalid_link")."""
    return _of_service(link, name=_TELEGRAM, hosts=TELEGRAM_HOSTS, path=_TELEGRAM_PATH)


def twitter(link: str) -> str:
    """A name such as @someone, or a page of X. Raises CallerError("invalid_link")."""
    return _of_service(link, name=_TWITTER, hosts=TWITTER_HOSTS, path=_TWITTER_PATH)


def image(link: str, own_origin: str = "") -> str:
    """An image that was uploaded here (`own_origin`, which may be a developer's own machine), one
    of the web over TLS, or one of IPFS by its content's name. Raises CallerError("invalid_link").
    """
    if own_origin and link.startswith(own_origin) and _OWN.fullmatch(link, len(own_origin)):
        return link
    if link.lower().startswith("ipfs:"):
        _check_characters(link)
        if _IPFS.fullmatch(link) is None:
            raise _bad("ipfs:// and a content identifier")
        return link
    return website(link)


def own_image(link: str) -> str | None:
    """The name of the uploaded image that a link is to, whatever this place was called when it
    was made; None: none of ours.
    """
    found = re.search(rf"{MEDIA_PATH}([0-9a-f]{{64}})(?:-256)?\.(?:png|jpg|webp)$", link)
    return found[1] if found else None


def _of_service(
    link: str, *, name: re.Pattern[str], hosts: frozenset[str], path: re.Pattern[str]
) -> str:
    if name.fullmatch(link):
        return link
    host, rest = _parts(link)
    if host not in hosts or path.fullmatch(re.split(r"[?#]", rest, maxsplit=1)[0]) is None:
        raise _bad(f"a name, or a page of one at {', '.join(sorted(hosts))}")
    return link


def _parts(link: str) -> tuple[str, str]:
    # (host in lower case, the rest from its path on)
    _check_host_alphabet(link)
    _check_characters(link)
    found = _WEB.fullmatch(link)
    if found is None:
        raise _bad("an https:// link")
    authority, rest = found[1].lower(), found[2] or ""
    if "@" in authority:
        raise _bad("a link without a name or a password before its host")
    host, colon, _ = authority.partition(":")
    port = _PORT.fullmatch(authority, len(host)) if colon else None
    if colon and (port is None or int(port[1]) > 65_535):
        raise _bad("a port of 1 to 65535, or none")
    _check_host(host)
    return host, rest


def _check_characters(link: str) -> None:
    if len(link) > LINK_CHARACTERS_MAX:
        raise _bad(f"at most {LINK_CHARACTERS_MAX} characters")
    if _CHARACTERS.fullmatch(link) is None:
        raise _bad("the characters of RFC 3986, others as %XX")


def _check_host_alphabet(link: str) -> None:
    found = _WEB.match(link[:LINK_CHARACTERS_MAX])
    if found is None or found[1].isascii():
        return
    with suppress(idna.IDNAError, UnicodeError):
        shown = idna.encode(found[1].lower(), uts46=True).decode()
        raise _bad(f"the host in ASCII, as {shown}")
    raise _bad("the host in ASCII")


def _check_host(host: str) -> None:
    labels = host.split(".")
    well_formed = (
        len(host) <= _HOST_CHARACTERS_MAX
        and len(labels) >= 2
        and all(_LABEL.fullmatch(label) for label in labels)
    )
    # A last label of letters is no IPv4 address in any of its spellings (1.2.3.4, 0x7f.1).
    if not well_formed or _TOP_LABEL.fullmatch(labels[-1]) is None:
        raise _bad("a host's name such as example.com")
    if labels[-1] in _INNER:
        raise _bad("a host that everybody can reach")
    for label in labels:
        if label[2:4] == "--":
            _check_punycode(label)


def _check_punycode(label: str) -> None:
    try:
        same = idna.alabel(idna.ulabel(label)).decode() == label
    except (idna.IDNAError, UnicodeError):
        same = False
    if not same:
        raise _bad("a host whose xn-- parts stand for names")


def _bad(expected: str) -> CallerError:
    return CallerError("invalid_link", f"Expected {expected}")
