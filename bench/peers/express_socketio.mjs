// The seed's stack: Express 5 and socket.io 4 on one port.
// node bench/peers/express_socketio.mjs <markets.json> [redis://…]

import { createServer } from "node:http";

import express from "express";
import { Server } from "socket.io";

import { envelope, failure, restData, tokenOf } from "./answers.mjs";
import { listening, markets } from "./markets.mjs";

const find = await markets(process.argv[2], process.argv[3]);
const inMemory = !process.argv[3];

const app = express();
app.disable("x-powered-by");
app.use(express.json({ limit: "64kb" }));
app.post("/api/trading/quote", async (request, response) => {
  try {
    const found = find(tokenOf(request.body, "tokenAddress"));
    const market = inMemory ? found : await found;
    response.json(envelope(restData(market, request.body)));
  } catch (error) {
    response.status(400).json(failure(error));
  }
});

const server = createServer(app);
const io = new Server(server, { serveClient: false });
io.on("connection", (socket) => {
  socket.on("quote", async (body, acknowledge) => {
    try {
      const found = find(tokenOf(body, "tokenAddress"));
      const market = inMemory ? found : await found;
      acknowledge(envelope(restData(market, body)));
    } catch (error) {
      acknowledge(failure(error));
    }
  });
});
server.listen(0, "127.0.0.1", 1024, () => listening(server));
