// An echo server for WebSocket clients, with the `ws` library.
//
// usage: server.mjs [compressed | no-takeover] [--tls CERTIFICATE KEY]
//
// Prints its port. The text "ping me" is answered with "pong" after a ping and its pong, and "close me" with close 4321.
// Ends at the end of standard input. server.py is the same with another library; keep the two alike.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import process from "node:process";

import { WebSocketServer } from "ws";

const words = process.argv.slice(2);
const at = words.indexOf("--tls");
const [certificate, key] = at < 0 ? [] : words.splice(at).slice(1).map((file) => readFileSync(file));
const kind = words[0] ?? "";
const forgetting = { serverNoContextTakeover: true, clientNoContextTakeover: true };
// (With `false` in their place it would refuse clients that ask for them.)
const perMessageDeflate = kind === "" ? false : { threshold: 0, ...(kind === "no-takeover" ? forgetting : {}) };

const server = certificate ? createTlsServer({ cert: certificate, key }) : createServer();
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
const sockets = new WebSocketServer({ server, perMessageDeflate, maxPayload: 0 });
sockets.on("connection", (ws) => {
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
