// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IBridgeVault} from "../IBridgeVault.sol";
import {Attestation} from "../libraries/Attestation.sol";
import {Timelocked} from "./Timelocked.sol";

/// @title VaultRoles
/// @notice What roles do: the guardian pauses at once, the owner changes everything else after the
/// delay, liquidity providers bring ETH and take back what they brought. Nobody else moves ETH
/// that no message moves.
abstract contract VaultRoles is Timelocked {
    using Attestation for Attestation.Signers;

    uint256 internal constant BPS = 10_000;
    uint256 internal constant FEE_BPS_MAX = 100;
    uint256 internal constant TTL_MIN = 24 hours;
    uint256 internal constant TTL_MAX = 30 days;

    /// @dev `limit` (wei) is what may leave in any 24 hours, `minimum` (wei) the least deposit;
    /// `delay` and `transferTtl` are seconds.
    struct Config {
        address owner;
        address[] signers;
        uint256 threshold;
        address[] guardians;
        address[] liquidityProviders;
        uint256 limit;
        uint256 minimum;
        uint256 feeBps;
        uint256 delay;
        uint256 transferTtl;
    }

    /// @notice Seconds from a deposit to its deadline.
    uint256 public immutable transferTtl;

    /// @inheritdoc IBridgeVault
    uint256 public minimum;
    Attestation.Signers internal _signers;
    /// @inheritdoc IBridgeVault
    mapping(address account => bool) public isGuardian;
    /// @inheritdoc IBridgeVault
    mapping(address account => bool) public isLiquidityProvider;

    modifier onlyProvider() {
        if (!isLiquidityProvider[msg.sender]) revert Unauthorized(msg.sender);
        _;
    }

    constructor(Config memory config) Timelocked(config.owner, config.delay) {
        if (config.transferTtl < TTL_MIN || config.transferTtl > TTL_MAX) revert InvalidParameter();
        transferTtl = config.transferTtl;
        _setSigners(config.signers, config.threshold);
        _setLimit(config.limit);
        _setMinimum(config.minimum);
        _setFee(config.feeBps);
        for (uint256 i = 0; i < config.guardians.length; ++i) {
            _setGuardian(config.guardians[i], true);
        }
        for (uint256 i = 0; i < config.liquidityProviders.length; ++i) {
            _setLiquidityProvider(config.liquidityProviders[i], true);
        }
    }

    // ------------------------------------------------------------- liquidity

    /// @inheritdoc IBridgeVault
    function addLiquidity() external payable onlyProvider nonReentrant {
        if (msg.value == 0) revert InvalidAmount(msg.value);
        _books.liquidity += uint128(msg.value);
        emit LiquidityAdded(msg.sender, _nextEventSeq(), msg.value);
    }

    /// @inheritdoc IBridgeVault
    function removeLiquidity(address payable to, uint256 amount)
        external
        onlyProvider
        nonReentrant
        whenRunning
    {
        if (amount == 0) revert InvalidAmount(amount);
        uint256 added = _books.liquidity;
        if (amount > added) revert NotEnoughLiquidity(amount, added);
        _checkPool(amount);
        _spend(amount);
        _books.liquidity = uint128(added - amount);
        emit LiquidityRemoved(msg.sender, to, _nextEventSeq(), amount);
        _send(to, amount);
    }

    /// @inheritdoc IBridgeVault
    function claimFees(address payable to, uint256 amount)
        external
        onlyOwner
        nonReentrant
        whenRunning
    {
        if (amount == 0) revert InvalidAmount(amount);
        uint256 earned = _books.fees;
        if (amount > earned) revert NotEnoughLiquidity(amount, earned);
        _books.fees = uint128(earned - amount);
        _books.feesClaimed += uint128(amount);
        emit FeesClaimed(to, _nextEventSeq(), amount);
        _send(to, amount);
    }

    // --------------------------------------------------------------- at once

    /// @inheritdoc IBridgeVault
    function pause() external {
        if (!isGuardian[msg.sender] && msg.sender != owner) revert Unauthorized(msg.sender);
        if (_head.paused) return;
        _head.paused = true;
        emit PausedBy(msg.sender, _nextEventSeq());
    }

    // ------------------------------------------------------- after the delay

    /// @inheritdoc IBridgeVault
    function unpause() external onlySelf {
        _head.paused = false;
        emit Unpaused(_nextEventSeq());
    }

    /// @inheritdoc IBridgeVault
    function setSigners(address[] calldata list, uint256 threshold) external onlySelf {
        _setSigners(list, threshold);
    }

    /// @inheritdoc IBridgeVault
    function setLimit(uint256 limit) external onlySelf {
        _setLimit(limit);
    }

    /// @inheritdoc IBridgeVault
    function setMinimum(uint256 least) external onlySelf {
        _setMinimum(least);
    }

    /// @inheritdoc IBridgeVault
    function setFee(uint256 bps) external onlySelf {
        _setFee(bps);
    }

    /// @inheritdoc IBridgeVault
    function setGuardian(address account, bool allowed) external onlySelf {
        _setGuardian(account, allowed);
    }

    /// @inheritdoc IBridgeVault
    function setLiquidityProvider(address account, bool allowed) external onlySelf {
        _setLiquidityProvider(account, allowed);
    }

    /// @inheritdoc IBridgeVault
    function signers()
        external
        view
        returns (address[] memory list, uint256 threshold, uint256 epoch, bytes32 signerSet)
    {
        return (_signers.list, _signers.threshold, _signers.epoch, _signers.set);
    }

    /// @dev An `unpause` from before the pause would undo it at once, so none may wait then: it is
    /// announced while paused, in its one spelling, and what unpauses uses it up.
    function _checkScheduled(bytes calldata data) internal view override {
        if (data.length < 4) revert InvalidParameter();
        bytes4 selector = bytes4(data[:4]);
        if (selector == IBridgeVault.unpause.selector) {
            if (data.length != 4 || !_head.paused) revert InvalidParameter();
        } else if (
            selector != IBridgeVault.setSigners.selector
                && selector != IBridgeVault.setLimit.selector
                && selector != IBridgeVault.setMinimum.selector
                && selector != IBridgeVault.setFee.selector
                && selector != IBridgeVault.setGuardian.selector
                && selector != IBridgeVault.setLiquidityProvider.selector
        ) revert InvalidParameter();
    }

    function _setSigners(address[] memory list, uint256 threshold) private {
        _signers.change(list, threshold);
        emit SignersChanged(_nextEventSeq(), _signers.epoch, threshold, list, _signers.set);
    }

    function _setLimit(uint256 limit) private {
        if (limit == 0 || limit < minimum || limit > type(uint88).max) revert InvalidParameter();
        _head.limit = uint88(limit);
        emit LimitChanged(_nextEventSeq(), limit);
    }

    function _setMinimum(uint256 least) private {
        if (least == 0 || least > _head.limit) revert InvalidParameter();
        minimum = least;
        emit MinimumChanged(_nextEventSeq(), least);
    }

    function _setFee(uint256 bps) private {
        if (bps > FEE_BPS_MAX) revert InvalidParameter();
        _head.feeBps = uint16(bps);
        emit FeeChanged(_nextEventSeq(), bps);
    }

    function _setGuardian(address account, bool allowed) private {
        if (account == address(0)) revert InvalidParameter();
        isGuardian[account] = allowed;
        emit GuardianChanged(account, _nextEventSeq(), allowed);
    }

    function _setLiquidityProvider(address account, bool allowed) private {
        if (account == address(0)) revert InvalidParameter();
        isLiquidityProvider[account] = allowed;
        emit LiquidityProviderChanged(account, _nextEventSeq(), allowed);
    }
}
