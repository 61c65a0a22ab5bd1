"""The token: the bar on its pair, the standing allowance, permits of two clones."""

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.support.evm import ETHER, FOREVER, Contract, Reverted
from tests.support.mirror import launch
from tests.support.stage import Stage

MAX = 2**256 - 1
SIGNER: LocalAccount = Account.from_key(b"\x07" * 32)
OWNER = bytes.fromhex(SIGNER.address[2:])


@pytest.fixture(scope="module")
def clones(stage: Stage) -> tuple[Contract, Contract]:
    """Two tokens of other names; `holder` has some of each."""
    holder = stage.chain.account("holder")
    first, second = (
        launch(stage.chain, stage.pad, creator=holder, salt=salt, value=ETHER // 10, name=name)[0]
        for salt, name in enumerate(["First", "Second"])
    )
    return stage.token(first.token), stage.token(second.token)


# ----------------------------------------------------------------- the bar


def test_transfer_to_the_pair_is_refused_for_every_caller(
    stage: Stage, clones: tuple[Contract, Contract]
) -> None:
    token = clones[0]
    holder, spender = stage.chain.account("holder"), stage.chain.account("spender")
    pair = token.call("pair")
    assert pair == stage.pad.call("market", token.address)["pair"]
    token.send("approve", spender, MAX, sender=holder)
    # The launchpad holds tokens and is the only caller that needs no allowance.
    for call in [
        lambda: token.call("transfer", pair, 1, sender=holder),
        lambda: token.call("transfer", pair, 0, sender=holder),
        lambda: token.call("transferFrom", holder, pair, 1, sender=spender),
        lambda: token.call("transfer", pair, 1, sender=stage.pad.address),
        lambda: token.call("transferFrom", holder, pair, 1, sender=stage.pad.address),
        lambda: token.call("transferFrom", stage.pad.address, pair, 1, sender=stage.pad.address),
    ]:
        with pytest.raises(Reverted, match="PoolNotOpen"):
            call()
    assert token.call("balanceOf", pair) == 0


def test_pool_opened_by_the_launchpad_once_lifts_the_bar(
    stage: Stage, clones: tuple[Contract, Contract]
) -> None:
    token, holder = clones[1], stage.chain.account("holder")
    with pytest.raises(Reverted, match="OnlyLaunchpad"):
        token.call("openPool", sender=stage.owner)
    snapshot = stage.chain.rpc("evm_snapshot")
    pad = stage.pad.address
    stage.chain.rpc("anvil_impersonateAccount", "0x" + pad.hex())
    stage.chain.rpc("anvil_setBalance", "0x" + pad.hex(), hex(10**20))
    try:
        token.send("openPool", sender=pad)
        token.send("transfer", token.call("pair"), 5, sender=holder)
        assert token.call("balanceOf", token.call("pair")) == 5
        with pytest.raises(Reverted, match="AlreadyInitialised"):
            token.call("openPool", sender=pad)
    finally:
        stage.chain.rpc("anvil_stopImpersonatingAccount", "0x" + pad.hex())
        assert stage.chain.rpc("evm_revert", snapshot)


def test_initialise_again_or_by_another_is_refused(
    stage: Stage, clones: tuple[Contract, Contract]
) -> None:
    implementation = stage.token(stage.pad.call("tokenImplementation"))
    for token in (clones[0], implementation):
        with pytest.raises(Reverted, match="OnlyLaunchpad"):
            token.call("initialise", "a", "b", stage.owner, sender=stage.owner)
    with pytest.raises(Reverted, match="AlreadyInitialised"):
        clones[0].call("initialise", "a", "b", stage.owner, sender=stage.pad.address)
    assert implementation.call("totalSupply") == 0


# --------------------------------------------------------------- transfers


def test_allowance_of_the_launchpad_stands_and_is_not_spent(
    stage: Stage, clones: tuple[Contract, Contract]
) -> None:
    token, holder = clones[0], stage.chain.account("holder")
    assert token.call("allowance", holder, stage.pad.address) == MAX
    token.send("approve", stage.pad.address, 0, sender=holder)
    arguments = (token.address, 10**20, 0, holder, FOREVER, bytes(32))
    stage.pad.send("sell", *arguments, sender=holder)
    assert token.call("allowance", holder, stage.pad.address) == MAX


def test_transfer_from_spends_an_allowance_but_not_the_greatest(
    stage: Stage, clones: tuple[Contract, Contract]
) -> None:
    token = clones[0]
    holder, spender = stage.chain.account("holder"), stage.chain.account("frugal")
    token.send("approve", spender, 10, sender=holder)
    token.send("transferFrom", holder, spender, 4, sender=spender)
    assert token.call("allowance", holder, spender) == 6
    with pytest.raises(Reverted, match="ERC20InsufficientAllowance"):
        token.call("transferFrom", holder, spender, 7, sender=spender)
    token.send("approve", spender, MAX, sender=holder)
    token.send("transferFrom", holder, spender, 4, sender=spender)
    assert token.call("allowance", holder, spender) == MAX
    assert token.call("balanceOf", spender) == 8


def test_transfer_beyond_the_balance_or_to_nobody_is_refused(
    stage: Stage, clones: tuple[Contract, Contract]
) -> None:
    token, holder = clones[0], stage.chain.account("holder")
    balance = token.call("balanceOf", holder)
    with pytest.raises(Reverted, match="ERC20InsufficientBalance"):
        token.call("transfer", stage.owner, balance + 1, sender=holder)
    with pytest.raises(Reverted, match="ERC20InvalidReceiver"):
        token.call("transfer", bytes(20), 1, sender=holder)
    with pytest.raises(Reverted, match="ERC20InvalidSpender"):
        token.call("approve", bytes(20), 1, sender=holder)
    token.send("transfer", holder, balance, sender=holder)
    assert token.call("balanceOf", holder) == balance


# ----------------------------------------------------------------- permits


def _signed(
    stage: Stage, token: Contract, *, value: int, nonce: int, deadline: int = FOREVER
) -> tuple[int, bytes, bytes]:
    spender = stage.chain.account("spender")
    message = Account.sign_typed_data(
        SIGNER.key,
        domain_data={
            "name": token.call("name"),
            "version": "1",
            "chainId": int(stage.chain.rpc("eth_chainId"), 16),
            "verifyingContract": "0x" + token.address.hex(),
        },
        message_types={
            "Permit": [
                {"name": "owner", "type": "address"},
                {"name": "spender", "type": "address"},
                {"name": "value", "type": "uint256"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ]
        },
        message_data={
            "owner": OWNER,
            "spender": spender,
            "value": value,
            "nonce": nonce,
            "deadline": deadline,
        },
    )
    return message.v, message.r.to_bytes(32, "big"), message.s.to_bytes(32, "big")


def test_permit_signed_for_two_clones_counts_for_its_own_only(
    stage: Stage, clones: tuple[Contract, Contract]
) -> None:
    spender = stage.chain.account("spender")
    first, second = clones
    assert first.call("DOMAIN_SEPARATOR") != second.call("DOMAIN_SEPARATOR")
    signed = {token.address: _signed(stage, token, value=77, nonce=0) for token in clones}
    for token, other in [(first, second), (second, first)]:
        with pytest.raises(Reverted, match="ERC2612InvalidSigner"):
            arguments = (OWNER, spender, 77, FOREVER, *signed[other.address])
            token.call("permit", *arguments, sender=spender)
        arguments = (OWNER, spender, 77, FOREVER, *signed[token.address])
        token.send("permit", *arguments, sender=spender)
        assert token.call("allowance", OWNER, spender) == 77
        assert token.call("nonces", OWNER) == 1
        with pytest.raises(Reverted, match="ERC2612InvalidSigner"):
            token.call("permit", *arguments, sender=spender)


def test_permit_late_changed_or_malleable_is_refused(
    stage: Stage, clones: tuple[Contract, Contract]
) -> None:
    token, spender = clones[0], stage.chain.account("spender")
    nonce = token.call("nonces", OWNER)
    late = _signed(stage, token, value=1, nonce=nonce, deadline=1)
    v, r, s = _signed(stage, token, value=1, nonce=nonce)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (order - int.from_bytes(s, "big")).to_bytes(32, "big")
    for arguments, error in [
        ((OWNER, spender, 1, 1, *late), "ERC2612ExpiredSignature"),
        ((OWNER, spender, 2, FOREVER, v, r, s), "ERC2612InvalidSigner"),
        ((bytes(20), spender, 1, FOREVER, 99, r, s), "ECDSAInvalidSignature"),
        ((OWNER, spender, 1, FOREVER, 55 - v, r, high), "ECDSAInvalidSignatureS"),
    ]:
        with pytest.raises(Reverted, match=error):
            token.call("permit", *arguments, sender=spender)
    token.call("permit", OWNER, spender, 1, FOREVER, v, r, s, sender=spender)
