// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IBridgeVault} from "../IBridgeVault.sol";
import {Window} from "../libraries/Window.sol";

/// @title VaultBase
/// @notice What every part of the vault shares: its books, its window, the ways ETH leaves. All
/// accounting is internal, the balance is never read, so ETH sent here by force changes nothing.
abstract contract VaultBase is IBridgeVault, ReentrancyGuardTransient {
    using Window for Window.Spent;

    /// @dev For a receiver that is a contract; whatever it does with it, the caller pays no more.
    uint256 internal constant PAY_GAS = 100_000;
    /// @dev So that 63/64 of what is left after the call's own price (9,000 for the value, 25,000
    /// for a new account, 2,600 for a cold one) are `PAY_GAS`.
    uint256 internal constant PAY_GAS_LEFT = 145_000;

    /// @dev One slot, which every call reads and writes. `deposits` is the last nonce.
    struct Head {
        uint64 eventSeq;
        uint64 deposits;
        uint88 limit;
        uint16 feeBps;
        bool paused;
    }

    /// @dev As `Totals`, two a slot.
    struct Books {
        uint128 deposited;
        uint128 released;
        uint128 liquidity;
        uint128 refunded;
        uint128 unclaimed;
        uint128 fees;
        uint128 feesClaimed;
    }

    /// @notice Where following this vault's events begins.
    uint256 public immutable firstBlock = block.number;

    Head internal _head;
    Books internal _books;
    Window.Spent internal _spent;
    mapping(address account => uint256) internal _unclaimed;

    modifier whenRunning() {
        if (_head.paused) revert Paused();
        _;
    }

    /// @inheritdoc IBridgeVault
    function claim(address payable to) external nonReentrant whenRunning {
        uint256 amount = _unclaimed[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        _unclaimed[msg.sender] = 0;
        _books.unclaimed -= uint128(amount);
        emit Claimed(msg.sender, to, _nextEventSeq(), amount);
        _send(to, amount);
    }

    /// @inheritdoc IBridgeVault
    function window() external view returns (uint256 left, uint256 limit) {
        limit = _head.limit;
        left = _spent.left(limit, block.timestamp);
    }

    /// @inheritdoc IBridgeVault
    function totals() external view returns (Totals memory) {
        Books memory books = _books;
        return Totals({
            liquidity: books.liquidity,
            deposited: books.deposited,
            released: books.released,
            refunded: books.refunded,
            unclaimed: books.unclaimed,
            fees: books.fees,
            feesClaimed: books.feesClaimed
        });
    }

    /// @inheritdoc IBridgeVault
    function unclaimedOf(address account) external view returns (uint256) {
        return _unclaimed[account];
    }

    /// @inheritdoc IBridgeVault
    function paused() external view returns (bool) {
        return _head.paused;
    }

    /// @inheritdoc IBridgeVault
    function feeBps() external view returns (uint256) {
        return _head.feeBps;
    }

    /// @inheritdoc IBridgeVault
    function eventSeq() external view returns (uint64) {
        return _head.eventSeq;
    }

    function _nextEventSeq() internal returns (uint256) {
        return ++_head.eventSeq;
    }

    /// @dev Of what is locked for others and for liquidity providers: without fees and claims.
    function _checkPool(uint256 amount) internal view {
        uint256 pool = _pool();
        if (amount > pool) revert NotEnoughLiquidity(amount, pool);
    }

    function _pool() internal view returns (uint256) {
        return uint256(_books.liquidity) + _books.deposited - _books.released - _books.refunded;
    }

    /// @dev Counts against the window or reverts.
    function _spend(uint256 amount) internal {
        (bool taken, uint256 left) = _spent.take(amount, _head.limit, block.timestamp);
        if (!taken) revert WindowFull(amount, left);
    }

    /// @dev To a receiver that nobody asked: when it refuses, the amount waits for its `claim`.
    /// Too little gas is the caller's fault and reverts. What it returns is not copied.
    function _pay(address to, uint256 amount) internal returns (bool ok) {
        if (gasleft() < PAY_GAS_LEFT) revert TransferFailed(to, amount);
        assembly ("memory-safe") {
            ok := call(PAY_GAS, to, amount, 0, 0, 0, 0)
        }
        if (!ok) {
            _unclaimed[to] += amount;
            _books.unclaimed += uint128(amount);
        }
    }

    /// @dev To a receiver that the caller named.
    function _send(address payable to, uint256 amount) internal {
        if (to == address(0)) revert InvalidRecipient(to);
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert TransferFailed(to, amount);
    }
}
