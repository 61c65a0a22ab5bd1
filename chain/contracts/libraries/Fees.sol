// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ILaunchpad} from "../ILaunchpad.sol";

/// @title Fees
/// @notice On the ETH side only, outside the curve, in basis points of the gross amount, so that
/// net(gross(n)) == n. Python twin: `curves/fees.py`.
library Fees {
    uint256 internal constant BPS = 10_000;
    uint256 internal constant TOTAL_BPS_MAX = 9_900;

    /// @dev Basis points at one block; the sum is at most 9,900.
    struct Rates {
        uint256 protocolBps;
        uint256 creatorBps;
        uint256 launchBps;
    }

    /// @dev The rates of a trade mined in `atBlock`. Blocks before the launch count as it. The
    /// launch fee falls per block to 0 at `launchBlock + launchBlocks`; it never rises.
    function ratesAt(ILaunchpad.FeeConfig memory fees, uint256 launchBlock, uint256 atBlock)
        internal
        pure
        returns (Rates memory rates)
    {
        rates = withoutLaunch(fees);
        uint256 age = atBlock > launchBlock ? atBlock - launchBlock : 0;
        uint256 blocks = fees.launchBlocks;
        if (age < blocks) rates.launchBps = fees.launchBps * (blocks - age) / blocks;
    }

    /// @dev The rates of the first buy inside `create`, which is exempt.
    function withoutLaunch(ILaunchpad.FeeConfig memory fees) internal pure returns (Rates memory) {
        return Rates(fees.protocolBps, fees.creatorBps, 0);
    }

    /// @dev The rates of trades on the pair.
    function poolRates(ILaunchpad.FeeConfig memory fees) internal pure returns (Rates memory) {
        return Rates(fees.poolProtocolBps, fees.poolCreatorBps, 0);
    }

    function netRoundingDown(Rates memory rates, uint256 gross) internal pure returns (uint256) {
        return gross * (BPS - _totalBps(rates)) / BPS;
    }

    /// @dev The least gross whose net is `net`.
    function grossRoundingUp(Rates memory rates, uint256 net) internal pure returns (uint256) {
        return Math.ceilDiv(net * BPS, BPS - _totalBps(rates));
    }

    /// @dev The parts of `gross - net`; protocol takes the rounding.
    function split(Rates memory rates, uint256 gross, uint256 net)
        internal
        pure
        returns (uint256 protocolFee, uint256 creatorFee, uint256 launchFee)
    {
        creatorFee = gross * rates.creatorBps / BPS;
        launchFee = gross * rates.launchBps / BPS;
        protocolFee = gross - net - creatorFee - launchFee;
    }

    /// @dev Reverts unless both sums leave something to trade.
    function check(ILaunchpad.FeeConfig memory fees) internal pure {
        uint256 onCurve = uint256(fees.protocolBps) + fees.creatorBps + fees.launchBps;
        uint256 onPool = uint256(fees.poolProtocolBps) + fees.poolCreatorBps;
        uint256 highest = Math.max(onCurve, onPool);
        if (highest > TOTAL_BPS_MAX) revert ILaunchpad.InvalidFees(highest);
    }

    function _totalBps(Rates memory rates) private pure returns (uint256) {
        return rates.protocolBps + rates.creatorBps + rates.launchBps;
    }
}
