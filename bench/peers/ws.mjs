// Plain `ws` with the stream door's quote.
// node bench/peers/ws.mjs <markets.json> [redis://…]

import { createServer } from "node:http";

import { WebSocketServer } from "ws";

import { streamAnswer, streamData, streamRefusal, tokenOf } from "./answers.mjs";
import { listening, markets } from "./markets.mjs";

const find = await markets(process.argv[2], process.argv[3]);
const inMemory = !process.argv[3];

const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on("connection", (socket) => {
  socket.on("message", async (raw) => {
    const body = JSON.parse(raw.toString());
    try {
      const found = find(tokenOf(body, "token"));
      const market = inMemory ? found : await found;
      socket.send(streamAnswer(body.id, streamData(market, body)));
    } catch (error) {
      socket.send(streamRefusal(body.id, error));
    }
  });
});
server.listen(0, "127.0.0.1", 1024, () => listening(server));
