#!/usr/bin/env node
// Runs the echo matrix against a WebSocket echo server, with the `ws` library as the client.
//
// usage: peer.mjs URL [compressed]
//
// With "compressed" the server has to agree on permessage-deflate, and the messages of the matrix are compressed, with each of
// several sets of parameters.
//
// Prints one line for each case that passed. At the first that does not, says why and exits with status 1.
// peer.py is the same matrix with another library; keep the two alike.

import { Buffer } from "node:buffer";
import process from "node:process";
import WebSocket from "ws";

const caseSecondsMax = 60; // the largest case takes about a second; this only ends a hang
const pipelinedMessages = 1000;

const text = "Gezeiten, marée, прилив, 潮汐, 🌊, e\u0301, \u0000, \u{10ffff}";
const allBytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

/** `size` bytes whose period, a prime, divides no buffer or frame size, so that a shifted copy shows. */
function pattern(size) {
  return Buffer.alloc(size, Buffer.from(Array.from({ length: 251 }, (_, i) => (i * 31) % 251)));
}

function check(condition, message) {
  if (!condition) throw new Error(message);
}

function show(data) {
  const kind = typeof data === "string" ? "text" : "binary";
  return `${kind} of length ${data.length}, ${JSON.stringify(data.slice(0, 40).toString("latin1"))}...`;
}

function checkSame(got, sent) {
  const same = typeof sent === "string" ? got === sent : Buffer.isBuffer(got) && got.equals(sent);
  check(same, `sent ${show(sent)}, got back ${show(got)}`);
}

/** A client whose messages, pongs and close are awaited one by one, in the order in which they came. */
class Client {
  #events = [];
  #waiting = null;
  /** What the server agreed on. */
  answer = "";

  constructor(url, options = {}) {
    this.socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 0, handshakeTimeout: 10_000, ...options });
    this.socket.on("upgrade", (response) => (this.answer = response.headers["sec-websocket-extensions"] ?? ""));
    this.socket.on("message", (data, isBinary) => this.#push({ kind: "message", data: isBinary ? data : data.toString("utf8") }));
    this.socket.on("pong", (data) => this.#push({ kind: "pong", data }));
    this.socket.on("close", (code, reason) => this.#push({ kind: "close", code, reason: reason.toString("utf8") }));
    this.socket.on("error", (error) => this.#push({ kind: "error", error }));
  }

  static async open(url, options) {
    const client = new Client(url, options);
    await new Promise((resolve, reject) => {
      client.socket.once("open", resolve);
      client.socket.once("error", reject);
    });
    return client;
  }

  #push(event) {
    this.#events.push(event);
    this.#waiting?.();
  }

  /** The next event, which has to be of this kind. */
  async next(kind) {
    while (this.#events.length === 0) await new Promise((resolve) => (this.#waiting = resolve));
    const event = this.#events.shift();
    if (event.kind === "error") throw event.error;
    check(event.kind === kind, `${kind} expected, got ${JSON.stringify(event).slice(0, 200)}`);
    return event;
  }

  async echo(message) {
    this.socket.send(message);
    checkSame((await this.next("message")).data, message);
  }

  async pong(payload) {
    checkSame((await this.next("pong")).data, payload);
  }

  async close(code, reason) {
    this.socket.close(code, reason);
    const received = await this.next("close");
    check(received.code === code && received.reason === reason, `the server answered the close with ${JSON.stringify(received)}`);
  }
}

async function manySmallFragments(client) {
  const data = pattern(7 * 1000);
  sendInFragments(client, data, 7, true);
  checkSame((await client.next("message")).data, data);
  // One byte a fragment: the boundaries fall inside characters.
  sendInFragments(client, Buffer.from(text), 1, false);
  checkSame((await client.next("message")).data, text);
}

function sendInFragments(client, data, size, binary) {
  for (let i = 0; i < data.length; i += size) {
    client.socket.send(data.subarray(i, i + size), { binary, fin: i + size >= data.length });
  }
}

async function fragmentsWithPingsBetween(client) {
  const data = pattern(5 * 40);
  for (let i = 0; i < data.length; i += 5) {
    client.socket.send(data.subarray(i, i + 5), { binary: true, fin: i + 5 >= data.length });
    if (i + 5 >= data.length) break;
    // The pong has to come now, in the middle of the message, not after it.
    const payload = Buffer.from(`between ${i}`);
    client.socket.ping(payload);
    await client.pong(payload);
  }
  checkSame((await client.next("message")).data, data);
}

async function pipelined(client) {
  const messages = Array.from({ length: pipelinedMessages }, (_, i) => `${i} ${"x".repeat(i % 200)}`);
  // One turn of the event loop: all are written before anything is read.
  for (const message of messages) client.socket.send(message);
  for (const message of messages) checkSame((await client.next("message")).data, message);
}

async function pingAndPong(client) {
  for (const payload of [Buffer.alloc(0), Buffer.from("tide"), allBytes.subarray(-125)]) {
    client.socket.ping(payload);
    await client.pong(payload);
  }
  await client.echo("still open");
}

async function closeWithUnreadEchoes(client) {
  // All that was sent before the close frame is echoed before the close is answered.
  for (let i = 0; i < 100; i++) client.socket.send(pattern(1000));
  client.socket.close(1000, "enough");
  for (let i = 0; i < 100; i++) checkSame((await client.next("message")).data, pattern(1000));
  const received = await client.next("close");
  check(received.code === 1000 && received.reason === "enough", `the server answered the close with ${JSON.stringify(received)}`);
}

// What a broken client could send, as octets with a masking key of zeros, and the code that has to answer it (RFC 6455, 7.4.1).
const violations = [
  ["reserved opcode", "8380 00000000", 1002],
  ["reserved control opcode", "8b80 00000000", 1002],
  ["RSV1 without an extension", "c280 00000000", 1002],
  ["unmasked frame", "8201 78", 1002],
  ["ping of 126 bytes", `89fe007e 00000000 ${"00".repeat(126)}`, 1002],
  ["fragmented ping", "0980 00000000", 1002],
  ["continuation of nothing", "8080 00000000", 1002],
  ["length that is not minimal", "82fe0001 00000000 78", 1002],
  ["close payload of one byte", "8881 00000000 03", 1002],
  ["close code 1005", "8882 00000000 03ed", 1002],
  ["text that is not UTF-8", "8182 00000000 c328", 1007],
  ["surrogate in a text", "8183 00000000 eda080", 1007],
];

async function violation(client, octets, code) {
  await client.echo("well so far");
  client.socket._socket.write(Buffer.from(octets.replaceAll(" ", ""), "hex"));
  const received = await client.next("close");
  check(received.code === code, `close code ${received.code}, ${code} expected`);
}

const cases = [
  ["empty text", (client) => client.echo("")],
  ["empty binary", (client) => client.echo(Buffer.alloc(0))],
  ["text of many scripts", (client) => client.echo(text)],
  ["every byte value", (client) => client.echo(allBytes)],
  [
    "sizes around the length encodings",
    async (client) => {
      for (const size of [1, 125, 126, 127, 65535, 65536]) await client.echo(pattern(size));
    },
  ],
  [
    "100 kB",
    async (client) => {
      await client.echo(pattern(100_000));
      await client.echo(text.repeat(Math.floor(100_000 / text.length)));
    },
  ],
  ["16 MiB", (client) => client.echo(pattern(16 * 1024 * 1024))],
  ["many small fragments", manySmallFragments],
  ["fragments with pings between", fragmentsWithPingsBetween],
  [`${pipelinedMessages} pipelined messages`, pipelined],
  ["ping and pong", pingAndPong],
  [
    "compression offered",
    async (client) => {
      // The server may accept or decline; both have to work.
      await client.echo("x".repeat(10_000));
      await client.echo(pattern(10_000));
      await client.echo("");
    },
    { perMessageDeflate: true },
  ],
  ["close 1000", (client) => client.close(1000, "")],
  ["close 1000 with reason", (client) => client.close(1000, "ebb — 退潮")],
  ["close 4321 with reason", (client) => client.close(4321, "r".repeat(123))],
  ["close with unread echoes", closeWithUnreadEchoes],
  ...violations.map(([name, octets, code]) => [
    `violation: ${name} -> ${code}`,
    (client) => violation(client, octets, code),
  ]),
];

async function run(url, [name, body, options]) {
  let client;
  let timer;
  const tooLong = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${caseSecondsMax} s`)), caseSecondsMax * 1000);
  });
  try {
    client = await Promise.race([Client.open(url, options), tooLong]);
    await Promise.race([body(client), tooLong]);
    if (client.socket.readyState === WebSocket.OPEN) await Promise.race([client.close(1000, ""), tooLong]);
  } finally {
    clearTimeout(timer);
    client?.socket.terminate();
  }
}

// What a client asks for, and the parameters that the server's answer then has.
const parameters = [
  ["all that is usual", {}, []],
  [
    "no context takeover",
    { serverNoContextTakeover: true, clientNoContextTakeover: true },
    ["server_no_context_takeover", "client_no_context_takeover"],
  ],
  [
    "small windows",
    { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
    ["server_max_window_bits=9", "client_max_window_bits=9"],
  ],
  [
    "one context",
    { serverNoContextTakeover: true, serverMaxWindowBits: 12 },
    ["server_no_context_takeover", "server_max_window_bits=12"],
  ],
];

async function noise(client) {
  // What cannot be compressed, between what can.
  let state = 7;
  for (const size of [100, 1000, 100_000]) {
    const bytes = Buffer.alloc(size);
    for (let i = 0; i < size; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      bytes[i] = state >>> 24;
    }
    await client.echo(bytes);
    await client.echo(pattern(size));
  }
}

const compressedCases = [
  // Up to 100 kB.
  ...cases.slice(0, 6),
  ["2 MiB", (client) => client.echo(pattern(2 * 1024 * 1024))],
  ["noise", noise],
  ["many small fragments", manySmallFragments],
  ["fragments with pings between", fragmentsWithPingsBetween],
  [`${pipelinedMessages} pipelined messages`, pipelined],
  ["close with unread echoes", closeWithUnreadEchoes],
];

const compressed = parameters.map(([name, asked, expected]) => [
  `compressed: ${name}`,
  async (client) => {
    check(client.socket.extensions.includes("permessage-deflate"), "the server declined permessage-deflate");
    for (const parameter of expected) check(client.answer.includes(parameter), `no ${parameter} in ${client.answer}`);
    // One after the other on one connection: all share its contexts.
    for (const [name, body] of compressedCases) {
      try {
        await body(client);
      } catch (error) {
        throw new Error(`${name}: ${error.message}`);
      }
    }
  },
  { perMessageDeflate: { threshold: 0, ...asked } },
]);

const isCompressed = process.argv[3] === "compressed";
if (process.argv.length !== (isCompressed ? 4 : 3)) {
  console.error("usage: peer.mjs URL [compressed]");
  process.exit(2);
}
for (const test of isCompressed ? compressed : cases) {
  const start = performance.now();
  try {
    await run(process.argv[2], test);
  } catch (error) {
    console.error(`FAILED ${test[0]}: ${error.name}: ${error.message}`);
    process.exit(1);
  }
  console.log(`ok ${test[0]} (${((performance.now() - start) / 1000).toFixed(3)} s)`);
}
