"""The OpenAPI document, its page, and that both follow the route table."""

import subprocess
import sys

import orjson
import pytest
from openapi_spec_validator import validate

from gateway import openapi
from gateway.described import DESCRIBED
from gateway.errors import STATUS
from gateway.routes import API, Access
from tests.support.evm import ROOT
from tests.support.gateway import Door


def test_document_is_valid_and_has_every_route() -> None:
    document = openapi.document()
    validate(document)
    operations = {
        (method.upper(), path.removeprefix("/api"))
        for path, place in document["paths"].items()
        for method in place
    }
    assert operations == DESCRIBED.keys() == {(route.method, route.path) for route in API}
    assert document["openapi"].startswith("3.1")


def test_document_says_who_must_log_in_and_names_every_code() -> None:
    document = openapi.document()
    shown = orjson.dumps(document["paths"]).decode()
    for route in API:
        operation = document["paths"]["/api" + route.path][route.method.lower()]
        assert ("security" in operation) == (route.access is not Access.OPEN)
        assert operation["summary"].endswith((".", ";")) and len(operation["summary"]) > 10
        assert not any(int(status) == 500 for status in operation["responses"])
    for code in STATUS.keys() - {"internal_error"}:
        assert f"`{code}`" in shown, code


async def test_document_and_page_are_served_by_us(door: Door) -> None:
    status, document = await door.get("/openapi.json")
    assert (status, document) == (200, orjson.loads(orjson.dumps(openapi.document())))
    async with door.session.get(f"{door.url}/docs") as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
        assert response.status == 200 and "https://" not in page and "http://" not in page
        assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png", "start.js"):
        async with door.session.get(f"{door.url}/docs/{name}") as response:
            assert response.status == 200 and len(await response.read()) > 40
    for name in ("..%2fpackage.json", "package.json", "absolute-path.js"):
        assert (await door.get(f"/docs/{name}"))[0] == 404


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_command_prints_the_document_without_any_server(flag: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from deploy.cli import main; main()", "openapi", *flag],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert orjson.loads(done.stdout) == orjson.loads(orjson.dumps(openapi.document()))
