"""Every way into a pair before graduation, and what must hold after each: no token is in it,
it has no liquidity. Tried one by one on a real node, each taken back."""

from collections.abc import Callable
from dataclasses import dataclass

from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.support.evm import ETHER, FOREVER, Contract, Reverted
from tests.support.stage import Stage

MAX = 2**256 - 1
AMOUNT = 10**20
SIGNER: LocalAccount = Account.from_key(b"\x09" * 32)
NO_TAG = bytes(32)


@dataclass(frozen=True)
class Ways:
    """`holder` holds tokens of the market, and WETH."""

    stage: Stage
    token: Contract
    pair: Contract
    holder: bytes

    def breaches(self) -> tuple[set[str], dict[str, str]]:
        """The ways that left a token or liquidity in the pair, and what refused each way ("" if
        nothing did)."""
        found: set[str] = set()
        refusals = dict.fromkeys(self.deeds(), "")
        for name, deed in self.deeds().items():
            with self.stage.chain.undone():
                try:
                    deed()
                except Reverted as refused:
                    refusals[name] = refused.name
                if self.token.call("balanceOf", self.pair.address) or self.pair.call("totalSupply"):
                    found.add(name)
        return found, refusals

    def deeds(self) -> dict[str, Callable[[], object]]:
        pair, holder, token = self.pair.address, self.holder, self.token
        pad = self.stage.pad
        thief = self.stage.chain.account("thief")
        launchpad = pad.address
        tail = (pair, FOREVER, NO_TAG)

        def trade(function: str, *amounts: int, value: int = 0) -> Callable[[], object]:
            arguments = (token.address, *amounts, *tail)
            return lambda: pad.send(function, *arguments, sender=holder, value=value)

        def token_sends(function: str, *arguments: object, sender: bytes) -> Callable[[], object]:
            return lambda: token.send(function, *arguments, sender=sender)

        return {
            "transfer": token_sends("transfer", pair, AMOUNT, sender=holder),
            "transfer of nothing, then mint": self._then_mint(
                token_sends("transfer", pair, 0, sender=holder)
            ),
            "transferFrom": self._approved(
                thief, token_sends("transferFrom", holder, pair, AMOUNT, sender=thief)
            ),
            "transferFrom, then mint": self._approved(
                thief,
                self._then_mint(token_sends("transferFrom", holder, pair, AMOUNT, sender=thief)),
            ),
            "permit": self._permitted(thief),
            "transfer by the launchpad": self._paid(
                launchpad, token_sends("transfer", pair, 1, sender=launchpad)
            ),
            "pull by the launchpad": self._paid(
                launchpad, token_sends("transferFrom", holder, pair, 1, sender=launchpad)
            ),
            "own tokens pulled by the launchpad": self._paid(
                launchpad, token_sends("transferFrom", launchpad, pair, 1, sender=launchpad)
            ),
            "buy": trade("buy", 0, value=ETHER),
            "buyExactOut": trade("buyExactOut", AMOUNT, 0, value=ETHER),
            "sell": trade("sell", AMOUNT, 0),
            "sellExactOut": trade("sellExactOut", 10**9, MAX),
            "create by the pair": self._paid(pair, self._create),
            "addLiquidityETH": self._approved(self.stage.router.address, self._add_liquidity_eth),
            "addLiquidity": self._approved(self.stage.router.address, self._add_liquidity),
            "mint": self._then_mint(lambda: None),
            "swap": self._swap,
            "skim": lambda: self.pair.send("skim", thief, sender=thief),
            "skim into itself": lambda: self.pair.send("skim", pair, sender=thief),
            "sync": lambda: self.pair.send("sync", sender=thief),
            "burn": lambda: self.pair.send("burn", thief, sender=thief),
            "router swap": lambda: self.stage.router.send(
                "swapExactETHForTokens",
                0,
                [self.stage.weth.address, token.address],
                pair,
                FOREVER,
                sender=holder,
                value=ETHER,
            ),
        }

    def _approved(self, spender: bytes, deed: Callable[[], object]) -> Callable[[], object]:
        def act() -> None:
            self.token.send("approve", spender, MAX, sender=self.holder)
            self.stage.weth.send("approve", spender, MAX, sender=self.holder)
            deed()

        return act

    def _paid(self, contract: bytes, deed: Callable[[], object]) -> Callable[[], object]:
        def act() -> None:
            self.stage.chain.impersonate(contract)
            self.stage.chain.rpc("anvil_setBalance", "0x" + contract.hex(), hex(10 * ETHER))
            deed()

        return act

    def _then_mint(self, deed: Callable[[], object]) -> Callable[[], object]:
        def act() -> None:
            try:
                deed()
            finally:
                self._give_weth()
                self.pair.send("mint", self.holder, sender=self.holder)

        return act

    def _give_weth(self) -> None:
        self.stage.weth.send("transfer", self.pair.address, ETHER // 100, sender=self.holder)

    def _permitted(self, spender: bytes) -> Callable[[], object]:
        owner = bytes.fromhex(SIGNER.address[2:])

        def act() -> None:
            self.token.send("transfer", owner, AMOUNT, sender=self.holder)
            signed = _permit(self.stage, self.token, spender)
            self.token.send("permit", owner, spender, AMOUNT, FOREVER, *signed, sender=spender)
            arguments = (owner, self.pair.address, AMOUNT)
            self.token.send("transferFrom", *arguments, sender=spender)

        return act

    def _create(self) -> None:
        # A first buy goes to the creator; the pair of another token is nobody's pair here.
        params = ("P", "P", bytes(32), (9).to_bytes(32, "big"), 0, 0, FOREVER, NO_TAG)
        self.stage.pad.send("create", params, sender=self.pair.address, value=ETHER)

    def _add_liquidity_eth(self) -> None:
        arguments = (self.token.address, AMOUNT, 0, 0, self.holder, FOREVER)
        self.stage.router.send("addLiquidityETH", *arguments, sender=self.holder, value=ETHER)

    def _add_liquidity(self) -> None:
        pair_of = (self.token.address, self.stage.weth.address)
        arguments = (*pair_of, AMOUNT, 10**15, 0, 0, self.holder, FOREVER)
        self.stage.router.send("addLiquidity", *arguments, sender=self.holder)

    def _swap(self) -> None:
        self._give_weth()
        self.pair.send("sync", sender=self.holder)
        outs = (1, 0) if self.stage.weth.address < self.token.address else (0, 1)
        self.pair.send("swap", *outs, self.holder, b"", sender=self.holder)


def _permit(stage: Stage, token: Contract, spender: bytes) -> tuple[int, bytes, bytes]:
    owner = bytes.fromhex(SIGNER.address[2:])
    fields = {"owner": "address", "spender": "address"}
    fields |= dict.fromkeys(("value", "nonce", "deadline"), "uint256")
    signed = Account.sign_typed_data(
        SIGNER.key,
        domain_data={
            "name": token.call("name"),
            "version": "1",
            "chainId": int(stage.chain.rpc("eth_chainId"), 16),
            "verifyingContract": "0x" + token.address.hex(),
        },
        message_types={"Permit": [{"name": n, "type": t} for n, t in fields.items()]},
        message_data={
            "owner": owner,
            "spender": spender,
            "value": AMOUNT,
            "nonce": token.call("nonces", owner),
            "deadline": FOREVER,
        },
    )
    return signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")
