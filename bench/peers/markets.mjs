// Where a peer has its markets: in memory, or in Redis as the seed designs it, a GET a quote.

import { readFileSync } from "node:fs";

import { Refused, marketOf } from "./maths.mjs";

const missing = () => new Refused("token_not_found", "Expected a known token");

// `find` answers at once or, from Redis, with a promise.
export async function markets(file, redisUrl) {
  const plain = JSON.parse(readFileSync(file, "utf8"));
  const known = new Map(plain.map((one) => [one.token.toLowerCase(), one]));
  if (!redisUrl) {
    const live = new Map([...known].map(([token, one]) => [token, marketOf(one)]));
    return (token) => {
      const market = live.get(token);
      if (!market) throw missing();
      return market;
    };
  }
  const { default: Redis } = await import("ioredis");
  const redis = new Redis(redisUrl);
  for (const [token, one] of known) await redis.set(`peer:market:${token}`, JSON.stringify(one));
  return async (token) => {
    const text = await redis.get(`peer:market:${token}`);
    if (text === null) throw missing();
    return marketOf(JSON.parse(text));
  };
}

export function listening(server) {
  process.stdout.write(JSON.stringify({ port: server.address().port }) + "\n");
  // Ends with whoever started it.
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}
