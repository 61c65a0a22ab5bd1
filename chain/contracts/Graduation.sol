// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPair, IWETH} from "./IExchange.sol";
import {ILaunchpad} from "./ILaunchpad.sol";
import {LaunchToken} from "./LaunchToken.sol";
import {LaunchpadBase} from "./LaunchpadBase.sol";
import {CurveMath} from "./libraries/CurveMath.sol";
import {Fees} from "./libraries/Fees.sol";
import {PoolMath} from "./libraries/PoolMath.sol";

/// @title Graduation
/// @notice From a sold-out curve to the pair, and trades there. What the curve raised goes into
/// the pair once, at the last curve price; the liquidity and the tokens that are left over are
/// burned. Nobody holds a share of it, and no role has a part in it.
abstract contract Graduation is LaunchpadBase {
    /// @notice After this time without a graduation anybody may let sells resume.
    uint256 public constant REOPEN_DELAY = 7 days;
    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;

    /// @dev ETH comes from unwrapping WETH only, within 2,300 gas.
    receive() external payable {
        if (msg.sender != weth) revert Unauthorized(msg.sender);
    }

    /// @inheritdoc ILaunchpad
    /// @dev Nothing that was done to the pair before can stop it: no token could reach the pair, so
    /// it has no liquidity. WETH that lies there beside its reserves is burned; WETH that was
    /// synced into them raises the opening price.
    function graduate(address token) external nonReentrant {
        Record storage record = _known(token);
        Phase phase = record.phase;
        CurveConfig memory config = _curves[record.curveId];
        bool complete = record.sold == config.curveSupply;
        if (!complete || (phase != Phase.Graduating && phase != Phase.Reopened)) {
            revert MarketNotOpen(token, phase);
        }
        record.phase = Phase.Graduated;
        uint256 eth = record.raised;
        uint256 tokens = CurveMath.poolTokensRoundingDown(config, record.sold, eth);
        _open(token, record, eth, tokens, config.poolSupply - tokens);
    }

    /// @inheritdoc ILaunchpad
    /// @dev Buys stay closed. While nothing was sold back `graduate` remains possible.
    function reopen(address token) external {
        Record storage record = _known(token);
        if (record.phase != Phase.Graduating) revert MarketNotOpen(token, record.phase);
        uint256 allowedAt = record.completedAt + REOPEN_DELAY;
        if (block.timestamp < allowedAt) revert TooEarly(allowedAt, block.timestamp);
        record.phase = Phase.Reopened;
        emit Reopened(token, _nextEventSeq(), ++record.seq);
    }

    function _open(
        address token,
        Record storage record,
        uint256 eth,
        uint256 tokens,
        uint256 burned
    ) private {
        address pair = record.pair;
        IPair(pair).skim(DEAD);
        (, uint256 donated) = _reserves(token, pair);
        LaunchToken(token).openPool();
        _wrapTo(pair, eth);
        LaunchToken(token).transfer(pair, tokens);
        uint256 liquidity = IPair(pair).mint(DEAD);
        LaunchToken(token).transfer(DEAD, burned);
        (uint256 reserveToken, uint256 reserveWeth) = _reserves(token, pair);
        emit Graduated({
            token: token,
            pair: pair,
            eventSeq: _nextEventSeq(),
            seq: ++record.seq,
            ethToPool: eth,
            tokensToPool: tokens,
            burned: burned,
            liquidity: liquidity,
            donatedWeth: donated,
            reserveToken: reserveToken,
            reserveWeth: reserveWeth
        });
    }

    function _pool(address token, Record storage record)
        internal
        view
        returns (PoolMath.Pool memory)
    {
        (uint256 reserveToken, uint256 reserveWeth) = _reserves(token, record.pair);
        return PoolMath.Pool(Fees.poolRates(record.fees), reserveToken, reserveWeth);
    }

    /// @dev Swaps on the pair itself. The reserves after are read from it: what somebody had left
    /// there beside its reserves comes in with any swap.
    function _settleInPool(Record storage record, Order memory order, TradeQuote memory given)
        internal
    {
        protocolFees += uint128(given.protocolFee);
        creatorFees[record.creator] += given.creatorFee;
        uint256 seq = ++record.seq;
        address pair = record.pair;
        if (order.isBuy) {
            _wrapTo(pair, given.curveEth);
            _swap(order.token, pair, given.tokens, 0, order.recipient);
        } else {
            LaunchToken(order.token).transferFrom(msg.sender, pair, given.tokens);
            _swap(order.token, pair, 0, given.curveEth, address(this));
            IWETH(weth).withdraw(given.curveEth);
        }
        (given.sold, given.raised) = _reserves(order.token, pair);
        _emitTrade(seq, VENUE_POOL, order, given);
        if (!order.isBuy) _send(order.recipient, given.eth);
        else if (given.refund != 0) _send(msg.sender, given.refund);
    }

    function _reserves(address token, address pair)
        internal
        view
        returns (uint256 reserveToken, uint256 reserveWeth)
    {
        (uint256 reserve0, uint256 reserve1,) = IPair(pair).getReserves();
        return token < weth ? (reserve0, reserve1) : (reserve1, reserve0);
    }

    function _swap(address token, address pair, uint256 tokens, uint256 eth, address to) private {
        (uint256 out0, uint256 out1) = token < weth ? (tokens, eth) : (eth, tokens);
        IPair(pair).swap(out0, out1, to, "");
    }

    function _wrapTo(address pair, uint256 amount) private {
        IWETH(weth).deposit{value: amount}();
        if (!IWETH(weth).transfer(pair, amount)) revert TransferFailed(pair, amount);
    }
}
