"""Loaded by schemathesis (`SCHEMATHESIS_HOOKS`): some requests get a whole body that belongs
together, since no two fields drawn apart make a login, no bytes at random an image, and no
document at random one whose hash is in a launch. What is left alone stays as it was drawn.
"""

import io
import json
import os
import random
from pathlib import Path
from typing import Any

import requests
import schemathesis
from eth_account import Account
from eth_account.messages import encode_defunct
from PIL import Image

from tests.support.gateway import siwe_message

SHARE = 0.4
_GIVEN = json.loads(Path(os.environ["FUZZ_REAL"]).read_text(encoding="utf-8"))
_DICE = random.Random(_GIVEN["seed"])
_ACCOUNT = Account.create()


@schemathesis.hook
def before_call(context: Any, case: Any, **kwargs: Any) -> None:
    operation = f"{case.method.upper()} {case.path}"
    if _DICE.random() >= SHARE:
        return
    if operation == "POST /api/auth/connect":
        case.body = _login()
    elif operation == "POST /api/auth/refresh":
        case.body = {"refreshToken": _refresh_token()}
    elif operation == "POST /api/uploads/image":
        if "X-API-Key" in (case.headers or {}):
            return  # Made wrong on purpose beside a right login, which counts: the key is not read.
        case.body, case.media_type = _image(), "image/png"
    elif _GIVEN["bodies"].get(operation):
        case.body = _DICE.choice(_GIVEN["bodies"][operation])
        if _GIVEN["paths"].get(operation):
            case.path_parameters = _DICE.choice(_GIVEN["paths"][operation])


def _image() -> bytes:
    # Few of them: what is kept has its content for a name, and is kept once.
    file, shade = io.BytesIO(), _DICE.randrange(20)
    Image.new("RGB", (40 + shade, 40), (10 * shade, 80, 120)).save(file, "PNG")
    return file.getvalue()


def _login() -> dict[str, str]:
    asked = _post("/api/auth/nonce", {})
    message = siwe_message(_ACCOUNT, asked["nonce"], domain=asked["domain"], URI=asked["uri"])
    signed = _ACCOUNT.sign_message(encode_defunct(text=message)).signature.to_0x_hex()
    return {"walletAddress": _ACCOUNT.address, "message": message, "signature": signed}


def _refresh_token() -> str:
    return str(_post("/api/auth/connect", _login())["refreshToken"])


def _post(path: str, body: dict[str, Any]) -> Any:
    return requests.post(_GIVEN["url"] + path, json=body, timeout=20).json()["data"]
