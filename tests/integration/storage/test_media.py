"""Both places for images, held to the same: a folder, and a bucket over HTTP."""

import asyncio
import errno
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from engine.errors import TransientError
from storage import media_disk
from storage.media_disk import DiskMedia
from storage.media_s3 import S3Media

BUCKET, KEY, SECRET = "images", "AKIAMARKEDKEYID", "marked-secret-of-the-bucket"


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def bucket(url: str, name: str = BUCKET, **fields: Any) -> S3Media:
    values = {"bucket": name, "region": "us-east-1", "key_id": KEY, "secret_key": SECRET}
    return S3Media(**(values | {"endpoint": url} | fields))


@pytest.fixture(params=["disk", "s3"])
async def media(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    if request.param == "disk":
        store: Any = DiskMedia(tmp_path / "media", bytes_max=10_000)
    else:
        url = request.getfixturevalue("s3_url")
        name = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:20]
        made = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        made.create_bucket(Bucket=name)
        made.close()
        store = bucket(url, name)
    yield store
    await store.close()


def named(content: bytes, size: str = "") -> str:
    return f"{hashlib.sha256(content).hexdigest()}{size}.png"


def files_in(folder: Path) -> set[str]:
    return {one.name for one in folder.rglob("*") if one.is_file()}


async def test_put_is_read_back_and_repeatable(media: Any) -> None:
    assert await media.get(named(b"one")) is None
    for _ in range(2):
        await media.put(named(b"one"), b"one")
    await asyncio.gather(*(media.put(named(b"two"), b"two") for _ in range(5)))
    assert (await media.get(named(b"one")), await media.get(named(b"two"))) == (b"one", b"two")
    everything = bytes(range(256)) * 20
    await media.put(named(everything, "-256"), everything)
    assert await media.get(named(everything, "-256")) == everything


async def test_names_are_walked_in_order_from_any_place(media: Any) -> None:
    assert await media.names("", 10) == []
    wanted = sorted(named(bytes([n])) for n in range(9))
    for name in wanted:
        await media.put(name, b"x")
    found: list[str] = []
    while batch := await media.names(found[-1] if found else "", 4):
        assert len(batch) <= 4 and all(abs(time.time() - put_at) < 60 for _, put_at in batch)
        found += [name for name, _ in batch]
    assert found == wanted


async def test_remove_spares_what_was_put_again(media: Any) -> None:
    name = named(b"one")
    assert not await media.remove(name, before=time.time() + 60)
    await media.put(name, b"one")
    assert not await media.remove(name, before=time.time() - 60)
    assert await media.get(name) == b"one"
    assert await media.remove(name, before=time.time() + 60)
    assert await media.get(name) is None


@pytest.mark.parametrize(
    "name", ["../" + "a" * 64 + ".png", "a" * 64, "A" * 64 + ".png", "a/b.png", "", "a\0.png"]
)
async def test_name_that_is_none_reaches_no_store(media: Any, name: str) -> None:
    for call in (media.put(name, b"x"), media.get(name), media.remove(name, before=1e12)):
        with pytest.raises(ValueError, match="Expected a name"):
            await call
    assert await media.names("", 10) == []


async def test_disk_over_its_bound_or_full_is_storage_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DiskMedia(tmp_path, bytes_max=10)
    await store.put(named(b"123456"), b"123456")
    for _ in range(2):
        with pytest.raises(TransientError) as caught:
            await store.put(named(b"12345"), b"12345")
        assert caught.value.code == "storage_full"
    await store.put(named(b"123456"), b"123456")
    await store.put(named(b"1234"), b"1234")
    # Another gateway's files count, and so do those of before.
    with pytest.raises(TransientError):
        await DiskMedia(tmp_path, bytes_max=10).put(named(b"1"), b"1")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(media_disk.os, "fsync", full)
    roomy = DiskMedia(tmp_path, bytes_max=1_000)
    with pytest.raises(TransientError) as caught:
        await roomy.put(named(b"x"), b"x")
    assert caught.value.code == "storage_full"
    monkeypatch.undo()
    # Nothing half-written stays.
    assert files_in(tmp_path) == {named(b"123456"), named(b"1234")}


async def test_disk_forgets_what_a_dead_process_left(tmp_path: Path) -> None:
    store = DiskMedia(tmp_path, bytes_max=1_000)
    await store.put(named(b"1"), b"1")
    folder = tmp_path / named(b"1")[:2]
    old, new = folder / ".new-old", folder / ".new-new"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert [name for name, _ in await store.names("", 10)] == [named(b"1")]
    assert not old.exists() and new.exists()


async def test_bucket_with_the_files_of_others_shows_ours_alone(s3_url: str) -> None:
    store = bucket(s3_url, "shared-bucket")
    client = store._client
    client.create_bucket(Bucket="shared-bucket")
    for key in ("media/" + "0" * 63, "media/0readme.txt", "media/1", "other/x"):
        client.put_object(Bucket="shared-bucket", Key=key, Body=b"theirs")
    assert await store.names("", 1) == []
    await store.put(named(b"one"), b"one")
    assert [name for name, _ in await store.names("", 1)] == [named(b"one")]
    await store.close()


async def test_bucket_that_is_away_or_refuses_is_store_unavailable_and_shows_no_key(
    s3_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for store in (bucket("http://127.0.0.1:1", timeout_s=1.0), bucket(s3_url, "no-such-bucket")):
        for call in (store.put(named(b"x"), b"x"), store.names("", 5)):
            with pytest.raises(TransientError) as caught:
                await asyncio.wait_for(call, 5)
            assert caught.value.code == "store_unavailable"
            said = f"{caught.value} {caught.value.__cause__} {vars(store)} {caplog.text}"
            assert KEY not in said and SECRET not in said
        await store.close()


async def test_bucket_that_does_not_answer_ends_by_its_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = bucket(f"http://127.0.0.1:{port}", timeout_s=0.6)
    with pytest.raises(TransientError) as caught:
        await asyncio.wait_for(store.get(named(b"x")), 5)
    assert caught.value.code == "store_unavailable"
    await store.close()
    server.close()
