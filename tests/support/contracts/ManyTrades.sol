// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ILaunchpad} from "chain/contracts/ILaunchpad.sol";

/// @notice For tests: a long history in few transactions.
contract ManyTrades {
    uint256 private constant FOREVER = 2 ** 63;

    /// @notice Launches of both curve families in turn; salts and names follow the number.
    function launch(ILaunchpad pad, uint256 first, uint256 count) external {
        for (uint256 number = first; number < first + count; ++number) {
            bytes32 salt = bytes32(number);
            pad.create(
                ILaunchpad.CreateParams("Many", "MANY", salt, salt, number % 2, 0, FOREVER, 0)
            );
        }
    }

    /// @notice One buy of each token for `amount` wei.
    function buy(ILaunchpad pad, address[] calldata tokens, uint256 amount) external payable {
        for (uint256 index; index < tokens.length; ++index) {
            pad.buy{value: amount}(tokens[index], 0, address(this), FOREVER, 0);
        }
    }

    receive() external payable {}
}
