// Lines of {market, rest, stream} in, lines of {rest, stream} out: for the test that holds the
// peers' maths against ours.

import { createInterface } from "node:readline";

import { failure, restData, streamData } from "./answers.mjs";
import { marketOf } from "./maths.mjs";

function tried(work) {
  try {
    return { data: work() };
  } catch (error) {
    return { code: failure(error).error.code };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { market, rest, stream } = JSON.parse(line);
  const live = marketOf(market);
  const found = {
    rest: tried(() => restData(live, rest)),
    stream: tried(() => streamData(live, stream)),
  };
  process.stdout.write(JSON.stringify(found) + "\n");
}
