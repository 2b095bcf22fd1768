// An echo server for WebSocket clients, with the `ws` library.
//
// usage: server.mjs [compressed | no-takeover]
//
// Prints its port. The text "ping me" is answered with "pong" after a ping and its pong, and "close me" with close 4321.
// Ends at the end of standard input. server.py is the same with another library; keep the two alike.

import process from "node:process";

import { WebSocketServer } from "ws";

const kind = process.argv[2] ?? "";
const forgetting = { serverNoContextTakeover: true, clientNoContextTakeover: true };
// (With `false` in their place it would refuse clients that ask for them.)
const perMessageDeflate = kind === "" ? false : { threshold: 0, ...(kind === "no-takeover" ? forgetting : {}) };

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate, maxPayload: 0 });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (ws) => {
  ws.on("message", (data, isBinary) => {
    const text = isBinary ? "" : data.toString();
    if (text === "ping me") {
      ws.once("pong", (payload) => ws.send(payload.toString() === "tide" ? "pong" : "another pong"));
      ws.ping("tide");
    } else if (text === "close me") {
      ws.close(4321, "as you wish");
    } else {
      ws.send(data, { binary: isBinary });
    }
  });
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
