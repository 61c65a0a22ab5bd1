// A stock socket.io-client with its default transports (polling, then the upgrade).
// Usage: node socketio_client.mjs URL TOKEN. Prints one line of JSON at the end.
import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
const socket = io(url, { reconnection: false, timeout: 5000 });
const fail = (why) => {
  console.error(why);
  process.exit(1);
};
setTimeout(() => fail("Expected to be done in 20 s"), 20000).unref();
socket.on("connect_error", (error) => fail(error.message));

const call = (event, data) => socket.timeout(5000).emitWithAck(event, data);
const engine = socket.io.engine;
const first = engine.transport.name;
const upgraded = new Promise((resolve) => engine.on("upgrade", resolve));

await new Promise((resolve) => socket.on("connect", resolve));
const quote = await call("quote", { tokenAddress: token, type: "buy", amount: "0.01" });
const refused = await call("quote", { tokenAddress: token, type: "buy", amount: "-1" });
const received = new Promise((resolve) => socket.on("price", resolve));
const subscribed = await call("subscribe", { topic: `token:${token}` });
console.error("subscribed");
const price = await received;
await upgraded;
const unsubscribed = await call("unsubscribe", { topic: `token:${token}` });
console.log(
  JSON.stringify({
    first,
    last: engine.transport.name,
    quote,
    refused,
    subscribed,
    price,
    unsubscribed,
  }),
);
socket.disconnect();
