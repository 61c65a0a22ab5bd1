"""Images over the real application: what is taken, what is made of it, and what never gets in."""

import asyncio
import io
import json
import struct
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image, PngImagePlugin

from engine import limits
from gateway import images, keys, replies
from gateway.images import Images
from gateway.replies import Reply
from storage.media_disk import DiskMedia
from tests.support.gateway import PUBLIC_URL, Door, headers_of, open_door
from tests.support.lobby import lobby

PATH = "/api/uploads/image"
MARK = b"marked-and-hidden"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    media = DiskMedia(tmp_path / "media", bytes_max=20_000_000)
    async with open_door(stores={"media": media}, uploads_per_hour=1_000) as opened:
        yield opened
        assert opened.log.errors == []


def picture(
    format: str = "PNG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any
) -> bytes:
    image = Image.new(mode, size, (200, 40, 40) if mode == "RGB" else None)
    for place in range(min(size)):
        image.putpixel((place, place), (0, 0, 255) if mode == "RGB" else 0)
    output = io.BytesIO()
    image.save(output, format, **options)
    return output.getvalue()


async def upload(door: Door, body: Any, **options: Any) -> tuple[int, Any]:
    headers = await door.login() | options.pop("headers", {})
    return await door.ask("POST", PATH, data=body, headers=headers, **options)


async def kept(door: Door, body: Any, **options: Any) -> tuple[dict[str, Any], bytes]:
    status, answer = await upload(door, body, **options)
    assert status == 200, answer
    Reply[replies.UploadData].model_validate(answer)
    name = answer["data"]["imageUrl"].removeprefix(PUBLIC_URL)
    async with door.session.get(door.url + name) as response:
        assert response.status == 200
        return answer["data"], await response.read()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(
    ("format", "written", "type"),
    [
        ("PNG", "PNG", "image/png"),
        ("JPEG", "JPEG", "image/jpeg"),
        ("WEBP", "WEBP", "image/webp"),
        ("GIF", "PNG", "image/png"),
    ],
)
async def test_image_is_written_anew_and_served_for_ever(
    door: Door, format: str, written: str, type: str
) -> None:
    # What it is called and said to be does not count.
    data, content = await kept(door, picture(format), headers={"Content-Type": "text/html"})
    image = opened(content)
    assert (image.format, image.size) == (written, (64, 48))
    assert (data["width"], data["height"], data["bytes"]) == (64, 48, len(content))
    again, _ = await kept(door, picture(format))
    assert again == data
    name = data["imageUrl"].removeprefix(PUBLIC_URL)
    async with door.session.get(door.url + name) as response:
        headers = response.headers
        assert headers["Content-Type"] == type
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    known = {"If-None-Match": f'"x", W/{headers["ETag"]}'}
    async with door.session.get(door.url + name, headers=known) as response:
        assert (response.status, await response.read()) == (304, b"")
        assert response.headers["ETag"] == headers["ETag"]
    async with door.session.get(door.url + data["smallUrl"].removeprefix(PUBLIC_URL)) as response:
        assert opened(await response.read()).size == (64, 48)


async def test_image_link_goes_into_a_launch(door: Door) -> None:
    data, _ = await kept(door, picture())
    body = {"name": "Goose", "symbol": "GO", "imageUrl": data["imageUrl"]}
    status, answer = await door.post("/api/tokens/create", body, headers=await door.login())
    assert status == 200, answer
    (document,) = door.documents.stored.values()
    assert document["imageUrl"] == data["imageUrl"]


async def test_image_that_is_large_is_kept_in_two_sizes(door: Door) -> None:
    data, content = await kept(door, picture("JPEG", (3_000, 1_500)))
    assert opened(content).size == (1_024, 512) == (data["width"], data["height"])
    async with door.session.get(door.url + data["smallUrl"].removeprefix(PUBLIC_URL)) as response:
        assert opened(await response.read()).size == (256, 128)


async def test_image_keeps_nothing_but_its_pixels(door: Door) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, MARK.decode()  # turned by a quarter; a description
    gps = {1: "N", 2: (1.0, 2.0, 3.0)}
    exif[0x8825] = gps
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", MARK.decode())
    tail = b"<script>alert(1)</script>PK\x03\x04" + MARK
    sent = [
        picture("JPEG", exif=exif.tobytes(), comment=MARK, icc_profile=MARK) + tail,
        picture("PNG", exif=exif.tobytes(), pnginfo=text, icc_profile=MARK) + tail,
        picture("WEBP", exif=exif.tobytes(), xmp=MARK, icc_profile=MARK),
        b"GIF89a" + picture("GIF", comment=MARK)[6:] + tail,
    ]
    for body in sent:
        assert MARK in body or b"Exif" in body or len(body) > 100
        _, content = await kept(door, body)
        image = opened(content)
        for hidden in (MARK, b"<script>", b"Exif", b"PK\x03\x04"):
            assert hidden not in content
        assert not image.getexif() and "icc_profile" not in image.info
        assert image.size == ((48, 64) if b"GIF8" not in body else (64, 48))


async def test_image_that_moves_keeps_its_first_picture(door: Door) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    for format in ("GIF", "WEBP", "PNG"):
        output = io.BytesIO()
        frames[0].save(output, format, save_all=True, append_images=frames[1:], duration=100)
        _, content = await kept(door, output.getvalue())
        image = opened(content)
        assert getattr(image, "n_frames", 1) == 1
        red, green, blue = image.convert("RGB").getpixel((20, 20))  # type: ignore[misc]
        assert red > 240 and green < 15 and blue < 15


async def test_image_of_any_mode_is_taken_and_clear_stays_clear(door: Door) -> None:
    for mode in ("LA", "P", "1", "I;16"):
        image = Image.new(mode, (32, 32))
        output = io.BytesIO()
        image.save(output, "PNG", **({"transparency": 0} if mode == "P" else {}))
        _, content = await kept(door, output.getvalue())
        clear = mode in ("LA", "P")
        assert opened(content).mode == ("RGBA" if clear else "RGB"), mode
        assert not clear or opened(content).getpixel((1, 1))[3] == 0  # type: ignore[index]
    _, content = await kept(door, picture("JPEG", mode="CMYK"))
    assert opened(content).mode == "RGB"


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checked)

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://169.254.169.254/"/></svg>'
BAD = {
    "nothing": b"",
    "text": b"hello",
    "svg": SVG,
    "svg with a declaration": b'<?xml version="1.0"?>' + SVG,
    "svg behind a mark": b"\x89PNG\r\n\x1a\n" + SVG,
    "page": b"<!doctype html><script>alert(1)</script>",
    "page that begins as a gif": b"GIF89a/*<script>*/=1;alert(1)//",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
    "tiff": b"II*\x00" + bytes(100),
    "bitmap": b"BM" + bytes(200),
    "icon": b"\x00\x00\x01\x00" + bytes(100),
    "only a mark": b"\x89PNG\r\n\x1a\n",
    "sound in a riff": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40),
    "too small": b"size:15x15",
    "too long a side": png_of(limits.IMAGE_SIDE_MAX + 1, 16),
    "pixels bomb": png_of(11_000, 11_000),
    "overflowing size": png_of(2**31 - 1, 2**31 - 1),
    "bytes bomb": png_of(4_000, 4_000, zlib.compress(bytes(64_000_000), 9)[:30_000]),
    "gif of a huge screen": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(30),
}


@pytest.mark.parametrize("case", BAD)
async def test_image_that_is_none_or_a_bomb_is_invalid_image(door: Door, case: str) -> None:
    body = picture(size=(15, 15)) if case == "too small" else BAD[case]
    began = time.monotonic()
    status, answer = await upload(door, body)
    assert (status, answer["error"]["code"]) == (400, "invalid_image"), answer
    # Refused by its head: nothing was decoded, which would take longer than this.
    assert time.monotonic() - began < images.WORK_S
    assert door.media._total == 0


async def test_image_cut_or_changed_anywhere_has_an_answer(door: Door) -> None:
    whole = picture("JPEG", (200, 200))
    cuts = [whole[:20], whole[: len(whole) // 2], whole[:-30] + b"\xff" * 30]
    for body in (*cuts, picture()[:60], picture("WEBP")[:40]):
        status, answer = await upload(door, body)
        assert status == 200 or answer["error"]["code"] == "invalid_image"


async def test_body_over_the_bound_is_too_large_however_it_comes(door: Door) -> None:
    big = picture() + bytes(limits.IMAGE_BYTES_MAX)

    async def chunks() -> AsyncIterator[bytes]:
        yield picture()
        for _ in range(90):
            yield bytes(64 * 1024)

    form = aiohttp.FormData()
    form.add_field("image", io.BytesIO(big), filename="a.png")
    for body in (io.BytesIO(big), chunks(), form):
        status, answer = await upload(door, body)
        assert (status, answer["error"]["code"]) == (413, "too_large")
    # The bound of all other bodies stays what it was.
    status, answer = await door.post(
        "/api/tokens/create", {"name": "x" * 70_000}, headers=await door.login()
    )
    assert (status, answer["error"]["code"]) == (413, "too_large")


async def test_form_with_one_file_is_as_good(door: Door) -> None:
    data, _ = await kept(door, picture())
    form = aiohttp.FormData()
    form.add_field("note", "hello")
    form.add_field("image", picture(), filename="../../etc/passwd.svg", content_type="text/html")
    assert (await kept(door, form))[0] == data
    bodies: list[tuple[Any, str]] = [
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"--y--", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data; boundary=x"),
        (b"x", "multipart/form-data"),
        (b"x" * 200, "multipart/form-data; boundary=" + "b" * 80),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--', "multipart/mixed"),
        (b"--x\r\nContent-Length: x\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x"),
        (
            b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n--x--",
            "multipart/form-data; boundary=x",
        ),
    ]
    for body, kind in bodies:
        status, answer = await upload(door, body, headers={"Content-Type": kind})
        assert (status, answer["error"]["code"]) == (400, "invalid_request"), (body, kind)


async def test_body_that_is_compressed_is_refused(door: Door) -> None:
    status, answer = await upload(
        door, zlib.compress(picture()), headers={"Content-Encoding": "deflate"}
    )
    assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_upload_that_dawdles_times_out_and_holds_no_place() -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield picture()[:20]
        await asyncio.sleep(30)

    async with open_door(upload_timeout_s=0.3) as door:
        slow = [asyncio.create_task(upload(door, slowly())) for _ in range(3)]
        answers = await asyncio.gather(*slow)
        codes = sorted(answer["error"]["code"] for _, answer in answers)
        # Of one wallet two at once.
        assert codes == ["overloaded", "upload_timeout", "upload_timeout"]
        assert {status for status, _ in answers} == {408, 503}
        assert (await upload(door, picture()))[0] == 200


async def test_upload_by_key_needs_its_scope_and_spends_the_wallets_budget(
    mongodb_url: str, redis_url: str
) -> None:
    async with lobby(mongodb_url, redis_url, uploads_per_hour=2) as door:
        login = headers_of(await door.session_of())
        answers = []
        for scope in ("read", "trade"):
            body = {"name": "bot", "scopes": [scope]}
            _, made = await door.post("/api/keys", body, headers=login)
            key = {keys.HEADER: made["data"]["key"]}
            answers.append((await door.ask("POST", PATH, data=picture(), headers=key))[0])
        for headers in (login, key):
            answers.append((await door.ask("POST", PATH, data=picture(), headers=headers))[0])
        assert answers == [403, 200, 200, 429]


async def test_uploads_have_a_budget_of_their_own() -> None:
    async with open_door(uploads_per_hour=2) as door:
        headers = await door.login()
        for _ in range(2):
            status, _ = await door.ask("POST", PATH, data=picture(), headers=headers)
            assert status == 200
        status, answer = await door.ask("POST", PATH, data=picture(), headers=headers)
        assert (status, answer["error"]["code"]) == (429, "rate_limited")
        body = {"name": "Goose", "symbol": "GO"}
        assert (await door.post("/api/tokens/create", body, headers=headers))[0] == 200


async def test_upload_without_room_or_store_is_503(tmp_path: Path) -> None:
    media = DiskMedia(tmp_path, bytes_max=100)
    async with open_door(stores={"media": media}) as door:
        status, answer = await upload(door, picture())
        assert (status, answer["error"]["code"]) == (503, "storage_full")
        async with door.session.get(f"{door.url}/metrics") as response:
            assert 'uploads_total{outcome="storage_full"} 1.0' in await response.text()
    async with open_door() as door:
        door.media.down = True
        status, answer = await upload(door, picture())
        assert (status, answer["error"]["code"]) == (503, "store_unavailable")
        status, answer = await door.get(f"/media/{'a' * 64}.png")
        assert (status, answer["error"]["code"]) == (503, "store_unavailable")


@pytest.mark.parametrize(
    "name",
    [
        *("..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fjwt.secret", "..%5cjwt.secret", "x.png"),
        *("a" * 64, "a" * 64 + ".svg", "A" * 64 + ".png", "a" * 63 + "%00.png", "a" * 64 + ".png"),
        *("a" * 64 + ".png%00", "a" * 64 + ".png%0a", "%2fetc%2fpasswd", "a" * 64 + "-1.png"),
    ],
)
async def test_name_that_is_none_is_not_found(door: Door, name: str, tmp_path: Path) -> None:
    (tmp_path / "jwt.secret").write_text("marked")
    async with door.session.get(f"{door.url}/media/{name}") as response:
        text = await response.text()
        assert response.status == 404 and "marked" not in text
        assert json.loads(text)["error"]["code"] == "not_found"
        assert response.headers["Cache-Control"] == "no-store"


async def test_quotes_go_on_while_images_are_worked_on(door: Door) -> None:
    heavy = picture("PNG", (2_500, 2_500))
    work = [asyncio.create_task(upload(door, heavy)) for _ in range(2)]
    token = "0x" + door.tokens[0].hex()
    quote = {"tokenAddress": token, "type": "buy", "amount": "0.01"}
    answered = 0
    while not all(task.done() for task in work):
        status, _ = await door.post("/api/trading/quote", quote)
        answered += status == 200
    # The loop that decodes an image itself answers one or two.
    assert answered > 20
    assert [(await task)[0] for task in work] == [200, 200]


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("import time; time.sleep(60)", "overloaded"),
        ("import os; os.abort()", "invalid_image"),
        ("raise SystemExit(3)", "invalid_image"),
        ("print()", "invalid_image"),
    ],
)
async def test_worker_that_hangs_or_dies_is_an_answer(
    door: Door, program: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "WORK_S", 0.7)
    place = door.gateway._context.images
    monkeypatch.setattr(place, "_command", (place._command[0], "-I", "-c", program))
    _, answer = await upload(door, picture())
    assert answer["error"]["code"] == code


async def test_worker_sees_no_secret_and_can_write_no_file(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", "marked")
    seen = tmp_path / "seen"
    program = f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))"
    place: Images = door.gateway._context.images
    monkeypatch.setattr(place, "_command", (place._command[0], "-I", "-c", program))
    await upload(door, picture())
    assert "marked" not in seen.read_text()
