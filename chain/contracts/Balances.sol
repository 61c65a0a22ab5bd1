// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

interface IBalanceOf {
    function balanceOf(address owner) external view returns (uint256);
}

/// Never deployed: its constructor runs inside an `eth_call` and answers with what `owner` holds of
/// each token, `type(uint256).max` for one that does not answer.
contract Balances {
    constructor(address owner, address[] memory tokens) {
        uint256[] memory found = new uint256[](tokens.length);
        for (uint256 i = 0; i < tokens.length; i++) {
            found[i] = _of(tokens[i], owner);
        }
        bytes memory answer = abi.encode(found);
        assembly ("memory-safe") {
            return(add(answer, 32), mload(answer))
        }
    }

    function _of(address token, address owner) private view returns (uint256) {
        if (token.code.length == 0) return type(uint256).max;
        try IBalanceOf(token).balanceOf(owner) returns (uint256 balance) {
            return balance;
        } catch {
            return type(uint256).max;
        }
    }
}
