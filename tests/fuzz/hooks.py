"""Loaded by schemathesis (`SCHEMATHESIS_HOOKS`): some requests get a whole body that belongs
together, since no two fields drawn apart make a login, and no document at random is one whose
hash is in a launch. What is left alone stays as it was drawn.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import requests
import schemathesis
from eth_account import Account
from eth_account.messages import encode_defunct

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
    elif _GIVEN["bodies"].get(operation):
        case.body = _DICE.choice(_GIVEN["bodies"][operation])
        if _GIVEN["paths"].get(operation):
            case.path_parameters = _DICE.choice(_GIVEN["paths"][operation])


def _login() -> dict[str, str]:
    asked = _post("/api/auth/nonce", {})
    message = siwe_message(_ACCOUNT, asked["nonce"], domain=asked["domain"], URI=asked["uri"])
    signed = _ACCOUNT.sign_message(encode_defunct(text=message)).signature.to_0x_hex()
    return {"walletAddress": _ACCOUNT.address, "message": message, "signature": signed}


def _refresh_token() -> str:
    return str(_post("/api/auth/connect", _login())["refreshToken"])


def _post(path: str, body: dict[str, Any]) -> Any:
    return requests.post(_GIVEN["url"] + path, json=body, timeout=20).json()["data"]
