// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title LaunchToken
/// @notice The ERC-20 of every launch, used through EIP-1167 clones. All clones share their
/// immutables, so the launchpad is one; everything else, the permit domain too, is the clone's.
/// Until the pool is open nobody, the launchpad included, can move tokens into the pair: liquidity
/// planted there before graduation would set the opening price.
contract LaunchToken is IERC20, IERC20Metadata, IERC20Permit, IERC20Errors {
    error OnlyLaunchpad(address caller);
    error AlreadyInitialised();
    error PoolNotOpen();
    error ERC2612ExpiredSignature(uint256 deadline);
    error ERC2612InvalidSigner(address signer, address owner);

    event PoolOpened();

    bytes32 private constant DOMAIN_TYPEHASH = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    );
    bytes32 private constant PERMIT_TYPEHASH = keccak256(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    );
    bytes32 private constant VERSION_HASH = keccak256("1");
    uint256 private constant SUPPLY = 1e27;

    address public immutable launchpad;

    address public pair;
    bool public open;
    string public name;
    string public symbol;
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => uint256) public nonces;
    mapping(address owner => mapping(address spender => uint256)) private _allowances;

    modifier onlyLaunchpad() {
        if (msg.sender != launchpad) revert OnlyLaunchpad(msg.sender);
        _;
    }

    constructor() {
        launchpad = msg.sender;
    }

    /// @notice Names the clone and mints the supply to the launchpad; once.
    function initialise(string calldata name_, string calldata symbol_, address pair_)
        external
        onlyLaunchpad
    {
        if (pair != address(0)) revert AlreadyInitialised();
        pair = pair_; // before the mint: the bar holds from the first token-wei
        name = name_;
        symbol = symbol_;
        balanceOf[launchpad] = SUPPLY;
        emit Transfer(address(0), launchpad, SUPPLY);
    }

    /// @notice Lifts the bar on the pair, for good.
    function openPool() external onlyLaunchpad {
        if (open) revert AlreadyInitialised();
        open = true;
        emit PoolOpened();
    }

    function transfer(address to, uint256 value) external returns (bool) {
        _update(msg.sender, to, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        if (msg.sender != launchpad) _spendAllowance(from, msg.sender, value);
        _update(from, to, value);
        return true;
    }

    function approve(address spender, uint256 value) external returns (bool) {
        _approve(msg.sender, spender, value);
        return true;
    }

    /// @inheritdoc IERC20Permit
    function permit(
        address owner,
        address spender,
        uint256 value,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        if (block.timestamp > deadline) revert ERC2612ExpiredSignature(deadline);
        bytes32 structHash =
            keccak256(
                abi.encode(PERMIT_TYPEHASH, owner, spender, value, nonces[owner]++, deadline)
            );
        bytes32 digest = MessageHashUtils.toTypedDataHash(DOMAIN_SEPARATOR(), structHash);
        address signer = ECDSA.recover(digest, v, r, s);
        if (signer != owner) revert ERC2612InvalidSigner(signer, owner);
        _approve(owner, spender, value);
    }

    function decimals() external pure returns (uint8) {
        return 18;
    }

    function totalSupply() external view returns (uint256) {
        return pair == address(0) ? 0 : SUPPLY;
    }

    /// @notice The launchpad's allowance stands and is not spent: a sell is one transaction.
    /// It pulls from its own caller only.
    function allowance(address owner, address spender) external view returns (uint256) {
        return spender == launchpad ? type(uint256).max : _allowances[owner][spender];
    }

    /// @inheritdoc IERC20Permit
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256(bytes(name)), VERSION_HASH, block.chainid, address(this)
            )
        );
    }

    function _update(address from, address to, uint256 value) private {
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        if (to == pair && !open) revert PoolNotOpen();
        uint256 balance = balanceOf[from];
        if (balance < value) revert ERC20InsufficientBalance(from, balance, value);
        unchecked {
            balanceOf[from] = balance - value;
            balanceOf[to] += value; // the supply bounds every sum
        }
        emit Transfer(from, to, value);
    }

    function _approve(address owner, address spender, uint256 value) private {
        if (spender == address(0)) revert ERC20InvalidSpender(spender);
        _allowances[owner][spender] = value;
        emit Approval(owner, spender, value);
    }

    function _spendAllowance(address owner, address spender, uint256 value) private {
        uint256 allowed = _allowances[owner][spender];
        if (allowed == type(uint256).max) return;
        if (allowed < value) revert ERC20InsufficientAllowance(spender, allowed, value);
        unchecked {
            _allowances[owner][spender] = allowed - value;
        }
    }
}
