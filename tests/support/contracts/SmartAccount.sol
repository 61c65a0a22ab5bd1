// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// An account whose key is set once, by its constructor or, for a delegated key account
/// (EIP-7702), by `initialize`. Says yes to its key only (ERC-1271).
contract SmartAccount {
    address public key;

    constructor(address key_) {
        key = key_;
    }

    function initialize(address key_) external {
        require(key == address(0));
        key = key_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature)
        external
        view
        virtual
        returns (bytes4)
    {
        if (signature.length != 65) return 0xffffffff;
        address signer = ecrecover(
            digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64])
        );
        return signer != address(0) && signer == key ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }

    receive() external payable {}
}

contract SmartAccountFactory {
    function create(address key, bytes32 salt) external returns (address) {
        return address(new SmartAccount{salt: salt}(key));
    }
}

/// Never ends: what a stranger may make our node do.
contract EndlessAccount {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        while (true) {}
        return 0x1626ba7e;
    }
}
