// A quote as each door's JSON, and the doors' requests as what maths.mjs takes.

import { Refused, quote } from "./maths.mjs";

const ADDRESS = /^0x[0-9a-fA-F]{40}$/;
const DECIMAL = /^(\d{1,40})(?:\.(\d{1,18}))?$/;
const DIGITS = /^\d{1,78}$/;

function units(amount, decimals = 18) {
  const text = amount.toString().padStart(decimals + 1, "0");
  const fraction = text.slice(-decimals).replace(/0+$/, "");
  const whole = text.slice(0, -decimals);
  return fraction ? `${whole}.${fraction}` : whole;
}

function baseUnits(text) {
  const found = typeof text === "string" && DECIMAL.exec(text);
  if (!found) throw new Refused("invalid_amount", "Expected a decimal string");
  return BigInt(found[1] + (found[2] ?? "").padEnd(18, "0"));
}

export function tokenOf(body, field) {
  const token = body?.[field];
  if (typeof token !== "string" || !ADDRESS.test(token)) {
    throw new Refused("invalid_address", "Expected an address");
  }
  return token.toLowerCase();
}

// The REST and Socket.IO body.
export function restData(market, body) {
  const exactOut = body.mode === "exactOut";
  const found = quote(market, {
    isBuy: body.type === "buy",
    exactOut,
    amount: baseUnits(body.amount),
    slippageBps: Math.round(Number(body.slippage ?? 1) * 100),
  });
  return {
    tokenAddress: market.token,
    type: body.type,
    mode: exactOut ? "exactOut" : "exactIn",
    amountIn: units(found.amountIn),
    amountOut: units(found.amountOut),
    fees: {
      protocol: units(found.protocolFee),
      creator: units(found.creatorFee),
      launch: units(found.launchFee),
    },
    spotPrice: units(found.spotPrice, 36),
    executionPrice: units(found.executionPrice, 36),
    priceImpactBps: found.priceImpactBps,
    [exactOut ? "maxIn" : "minOut"]: units(found.bound),
    clipped: found.clipped,
    spent: units(found.spent),
    refund: units(found.refund),
    forBlock: found.forBlock,
    exactUntilBlock: found.exactUntilBlock,
    phase: market.phase,
    asOf: market.asOf,
  };
}

export function envelope(data) {
  return { success: true, data, timestamp: new Date().toISOString() };
}

export function failure(error) {
  const code = error instanceof Refused ? error.code : "internal_error";
  const timestamp = new Date().toISOString();
  return { success: false, error: { code, message: error.message }, timestamp };
}

// The stream door's op.
export function streamData(market, body) {
  const exactOut = body.mode === "exactOut";
  if (typeof body.amountWei !== "string" || !DIGITS.test(body.amountWei)) {
    throw new Refused("invalid_amount", "Expected a string of digits");
  }
  const found = quote(market, {
    isBuy: body.side === "buy",
    exactOut,
    amount: BigInt(body.amountWei),
    slippageBps: body.slippageBps ?? 100,
  });
  return {
    token: market.token,
    side: body.side,
    mode: exactOut ? "exactOut" : "exactIn",
    amountInWei: found.amountIn.toString(),
    amountOutWei: found.amountOut.toString(),
    fees: {
      protocolWei: found.protocolFee.toString(),
      creatorWei: found.creatorFee.toString(),
      launchWei: found.launchFee.toString(),
    },
    spotPriceE18: found.spotPrice.toString(),
    executionPriceE18: found.executionPrice.toString(),
    priceImpactBps: found.priceImpactBps,
    [exactOut ? "maxInWei" : "minOutWei"]: found.bound.toString(),
    clipped: found.clipped,
    spentWei: found.spent.toString(),
    refundWei: found.refund.toString(),
    forBlock: found.forBlock,
    exactUntilBlock: found.exactUntilBlock,
    phase: market.phase,
    asOf: market.asOf,
  };
}

export function streamAnswer(id, data) {
  return JSON.stringify({ v: 1, op: "quote", id, ok: true, data });
}

export function streamRefusal(id, error) {
  const { code, message } = failure(error).error;
  return JSON.stringify({ v: 1, op: "quote", id, ok: false, error: { code, message } });
}
