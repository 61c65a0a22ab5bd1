// The seed's way with ticks: socket.io rooms, fed by Redis; what is pushed looks as ours does.
// node bench/peers/fanout.mjs <redis://…> <namespace>

import { createServer } from "node:http";

import Redis from "ioredis";
import { Server } from "socket.io";

import { listening } from "./markets.mjs";

const [redisUrl, namespace] = process.argv.slice(2);
const server = createServer();
const io = new Server(server, { serveClient: false });
io.on("connection", (socket) => {
  socket.on("subscribe", ({ topic }, acknowledge) => {
    socket.join(topic);
    acknowledge({ success: true, data: { topic }, timestamp: new Date().toISOString() });
  });
});
const redis = new Redis(redisUrl);
redis.on("message", (channel, text) => {
  const { topic, event, seq, generation, data } = JSON.parse(text);
  io.to(topic).emit(event, { topic, seq, fromSeq: seq, toSeq: seq, generation, data });
});
await redis.subscribe(`${namespace}:ticks`);
server.listen(0, "127.0.0.1", 4096, () => listening(server));
