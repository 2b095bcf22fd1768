#!/usr/bin/env node
// Opens pages in Debian's chromium, headless, and talks to WebSocket servers from there.
//
// usage: browser.mjs page FOREIGN URL...    servers as tests/browser.rs starts them, at their pages; FOREIGN is a WebSocket of
//                                           another server
//        browser.mjs chat URL...            chat examples, at their pages
//        browser.mjs http FOLDER URL...     examples `http`, which serve the files of FOLDER
//
// Prints the address of each server, and one line for each case that passed. At the first that does not, says why and exits with status 1. The browser is
// closed in either case, and goes with this process if that is killed.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import process from "node:process";
import { chromium } from "playwright-core";

const secondsMax = 200; // all of it takes some ten; this only ends a hang

function check(condition, message) {
  if (!condition) throw new Error(message);
}

function checkSame(got, expected) {
  const [left, right] = [JSON.stringify(got), JSON.stringify(expected)];
  check(left === right, `got ${left.slice(0, 500)}, expected ${right.slice(0, 500)}`);
}

/** Cookies and pages of their own, with no limit of time but that of all of it. */
async function newContext(browser) {
  const context = await browser.newContext();
  context.setDefaultTimeout(secondsMax * 1000);
  return context;
}

/** What the pages of the echo cases have: a client whose messages and end are awaited one by one. */
function installClient() {
  window.Client = class {
    #events = [];
    #waiting = null;

    constructor(target) {
      this.socket = new WebSocket(target);
      this.socket.binaryType = "arraybuffer";
      this.opened = new Promise((resolve, reject) => {
        this.socket.onopen = () => resolve(this);
        this.socket.onerror = () => reject(new Error(`no WebSocket at ${target}`));
      });
      this.socket.onmessage = (event) => this.#push(event);
      this.closed = new Promise((resolve) => {
        this.socket.onclose = ({ code, reason, wasClean }) => {
          resolve({ code, reason, wasClean });
          this.#push(new Error(`closed with ${code} ${reason}`));
        };
      });
    }

    static open(path) {
      return new Client(`${location.origin.replace("http", "ws")}${path}`).opened;
    }

    #push(event) {
      this.#events.push(event);
      this.#waiting?.();
    }

    async next() {
      while (this.#events.length === 0) await new Promise((resolve) => (this.#waiting = resolve));
      const event = this.#events.shift();
      if (event instanceof Error) throw event;
      return event.data;
    }

    async close(code, reason) {
      this.socket.close(code, reason);
      return this.closed;
    }
  };
  /** Bytes whose period, a prime, divides no buffer's size. */
  window.pattern = (size) => Uint8Array.from({ length: size }, (_, i) => ((i % 251) * 31) % 251);
  window.same = (left, right) => left.byteLength === right.byteLength && new Uint8Array(left).every((byte, i) => byte === right[i]);
}

/** Texts, bytes, much at once, on the WebSocket at `path`: what came back otherwise than it went. */
async function echoes(path) {
  const client = await Client.open(path);
  const wrong = [];
  const text = "Gezeiten, marée, прилив, 潮汐, 🌊, e\u0301, \u0000, \u{10ffff}";
  for (const sent of ["", text, text.repeat(10_000)]) {
    client.socket.send(sent);
    if ((await client.next()) !== sent) wrong.push(`text of ${sent.length}`);
  }
  for (const size of [0, 1, 125, 126, 65_535, 65_536, 4 << 20]) {
    const sent = pattern(size);
    client.socket.send(sent);
    if (!same(await client.next(), sent)) wrong.push(`${size} bytes`);
  }
  client.socket.send(new Blob([pattern(1000)]));
  if (!same(await client.next(), pattern(1000))) wrong.push("a blob");
  const messages = Array.from({ length: 5000 }, (_, i) => `${i} ${"x".repeat(i % 300)}`);
  for (const sent of messages) client.socket.send(sent);
  for (const sent of messages) if ((await client.next()) !== sent) wrong.push(`message ${sent.slice(0, 10)}`);
  const extensions = client.socket.extensions;
  return { wrong, extensions, closed: await client.close(1000) };
}

async function pageCases(browser, foreign, url) {
  const context = await newContext(browser);
  const page = await context.newPage();
  await page.addInitScript(installClient);
  await page.goto(url);
  const clean = { code: 1000, reason: "", wasClean: true };

  checkSame(await page.evaluate(echoes, "/ws"), { wrong: [], extensions: "", closed: clean });
  console.log("echoes");

  const deflated = await page.evaluate(echoes, "/deflate");
  check(deflated.extensions.startsWith("permessage-deflate"), `agreed on ${JSON.stringify(deflated.extensions)}`);
  checkSame({ ...deflated, extensions: "" }, { wrong: [], extensions: "", closed: clean });
  console.log(`echoes with ${deflated.extensions}`);

  const told = await page.evaluate(async () => {
    const client = await Client.open("/told");
    return JSON.parse(await client.next());
  });
  checkSame(told, { compression: false, cookie: "tide=high", origin: new URL(url).origin });
  console.log("origin and cookie");

  const closes = await page.evaluate(async () => {
    const client = await Client.open("/ws");
    const byClient = await client.close(4321, "the client's reason");
    const byServer = await (await Client.open("/close")).closed;
    const bare = await (await Client.open("/ws")).close();
    return { byClient, byServer, bare };
  });
  checkSame(closes, {
    byClient: { code: 4321, reason: "the client's reason", wasClean: true },
    byServer: { code: 4000, reason: "the server's reason", wasClean: true },
    bare: { code: 1005, reason: "", wasClean: true },
  });
  console.log("close codes");

  const refused = await page.evaluate(async (target) => {
    const client = new Client(target);
    return { opened: await client.opened.then(() => true, () => false), closed: await client.closed };
  }, foreign);
  checkSame(refused, { opened: false, closed: { code: 1006, reason: "", wasClean: false } });
  console.log("pages of other origins are refused");
}

/** The chat page as a person uses it. */
class Chatter {
  static async open(context, url, name) {
    const chatter = new Chatter();
    chatter.page = await context.newPage();
    await chatter.page.goto(url);
    await chatter.page.fill("#name", name);
    await chatter.page.click("#enter button");
    await chatter.page.getByText(`Connected as ${name}`).waitFor();
    return chatter;
  }

  async join(room) {
    await this.page.fill("#room", room);
    await this.page.click("#join");
  }

  async leave(room) {
    await this.page.fill("#room", room);
    await this.page.click("#leave");
  }

  async say(room, text) {
    await this.page.fill("#room", room);
    await this.page.fill("#text", text);
    await this.page.press("#text", "Enter");
  }

  /** Waits until as many lines are shown, which must then be these. */
  async sees(lines) {
    await this.page.locator("#log li").nth(lines.length - 1).waitFor({ state: "attached" });
    checkSame(await this.page.locator("#log li").allTextContents(), lines);
  }
}

async function chatCases(browser, url) {
  const context = await newContext(browser);
  const ann = await Chatter.open(context, url, "Ann");
  const bob = await Chatter.open(context, url, "Bob & <b>Co</b>, 100 %");
  const name = "Bob & <b>Co</b>, 100 %";

  const [annSees, bobSees] = [["blue: Ann joined"], [`blue: ${name} joined`]];
  await ann.join("blue");
  await ann.sees(annSees);
  await bob.join("blue");
  await bob.sees(bobSees);
  annSees.push(`blue: ${name} joined`);
  await ann.sees(annSees);
  console.log("two tabs join a room");

  await ann.say("blue", "Hello, <i>tide</i>! 🌊");
  for (const sees of [annSees, bobSees]) sees.push("blue: Ann: Hello, <i>tide</i>! 🌊");
  await ann.sees(annSees);
  await bob.sees(bobSees);
  await bob.say("blue", "Ahoy");
  for (const sees of [annSees, bobSees]) sees.push(`blue: ${name}: Ahoy`);
  await bob.sees(bobSees);
  await ann.sees(annSees);
  console.log("what one says the other reads");

  await ann.join("green");
  await ann.say("green", "alone");
  annSees.push("green: Ann joined", "green: Ann: alone");
  await ann.sees(annSees);
  await ann.say("blue", "not alone");
  for (const sees of [annSees, bobSees]) sees.push("blue: Ann: not alone");
  await ann.sees(annSees);
  await bob.sees(bobSees);
  console.log("rooms are apart");

  await ann.leave("blue");
  for (const sees of [annSees, bobSees]) sees.push("blue: Ann left");
  await ann.sees(annSees);
  await bob.sees(bobSees);
  await bob.say("blue", "anybody here?");
  bobSees.push(`blue: ${name}: anybody here?`);
  await bob.sees(bobSees);
  await ann.say("blue", "me?");
  annSees.push("error: send join ROOM or, in a room, leave ROOM or say ROOM TEXT");
  await ann.sees(annSees);
  console.log("who has left a room is out of it");

  await ann.join("blue");
  annSees.push("blue: Ann joined");
  await ann.sees(annSees);
  await bob.page.close();
  annSees.push(`blue: ${name} left`);
  await ann.sees(annSees);
  console.log("who closes the tab has left");
}

/** The network of a page: the status and the request's fields of each response, as they were on the wire. */
async function watchNetwork(context, page) {
  const cdp = await context.newCDPSession(page);
  const requests = new Map();
  const seen = [];
  cdp.on("Network.requestWillBeSent", ({ requestId, request }) => requests.set(requestId, { ...requests.get(requestId), url: request.url }));
  cdp.on("Network.requestWillBeSentExtraInfo", ({ requestId, headers }) => {
    const fields = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    requests.set(requestId, { ...requests.get(requestId), fields });
  });
  cdp.on("Network.responseReceivedExtraInfo", ({ requestId, statusCode }) => seen.push({ requestId, status: statusCode }));
  await cdp.send("Network.enable");
  return (path) => seen.map(({ requestId, status }) => ({ status, ...requests.get(requestId) })).filter(({ url }) => url?.includes(path));
}

/** An event stream that ends: the browser connects again, and says which event it got last. */
async function reconnection(context, url) {
  const page = await context.newPage();
  await page.goto(`${url}/plaintext`);
  const network = await watchNetwork(context, page);
  const messages = await page.evaluate(() => new Promise((resolve) => {
    const [events, messages] = [new EventSource("/events?n=3"), []];
    let opened = 0;
    events.onmessage = ({ data, lastEventId }) => messages.push([data, lastEventId]);
    events.onopen = () => {
      if (++opened < 2) return;
      events.close();
      resolve(messages);
    };
  }));
  checkSame(messages, [["event 0", "0"], ["event 1", "1"], ["event 2", "2"]]);
  checkSame(network("/events").map(({ fields }) => fields["last-event-id"] ?? null), [null, "2"]);
}

async function httpCases(browser, folder, url) {
  const context = await newContext(browser);
  const reconnected = reconnection(context, url);
  reconnected.catch(() => {}); // reported at the end
  const page = await context.newPage();
  const network = await watchNetwork(context, page);

  await page.goto(`${url}/`);
  await page.getByText("event 4").waitFor();
  checkSame((await page.locator("#events").innerText()).trim().split("\n"), [0, 1, 2, 3, 4].map((number) => `event ${number}`));
  console.log("the page shows its events");

  await page.fill("[name=text]", "hello");
  await page.setInputFiles("[name=file]", { name: "ü & é.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(300_000, 7) });
  await page.click("button");
  await page.waitForURL(`${url}/form`);
  checkSame(JSON.parse(await page.locator("body").innerText()), [
    { name: "text", file: null, bytes: 5 },
    { name: "file", file: "ü & é.bin", bytes: 300_000 },
  ]);
  console.log("a form with a file");

  for (const visit of [1, 2, 3]) {
    await page.goto(`${url}/cookie`);
    checkSame((await page.locator("body").innerText()).trim(), `visit ${visit}`);
  }
  await page.goto(`${url}/redirect`);
  checkSame(page.url(), `${url}/`);
  console.log("cookies and a redirect");

  const compressed = await page.evaluate(async () => {
    const response = await fetch(`/json?name=${"tide".repeat(1000)}`);
    return [response.headers.get("content-encoding"), (await response.json()).hello === "tide".repeat(1000)];
  });
  checkSame([["br", "gzip", "deflate", "zstd"].includes(compressed[0]), compressed[1]], [true, true]);
  console.log(`JSON compressed with ${compressed[0]}`);

  const expected = createHash("sha256").update(readFileSync(`${folder}/large.bin`)).digest("hex");
  const digest = await page.evaluate(async () => {
    const content = await (await fetch("/files/large.bin", { cache: "no-store" })).arrayBuffer();
    return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", content)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  });
  checkSame(digest, expected);
  console.log("a large file");

  await page.goto(`${url}/files/index.html`);
  await page.reload();
  checkSame(network("/files/index.html").map(({ status }) => status), [200, 304]);
  checkSame(await page.locator("h1").innerText(), "Files");
  console.log("a reload is answered from the cache");

  const media = await page.evaluate(async () => {
    const video = document.createElement("video");
    const happens = (name) => new Promise((resolve, reject) => {
      video.addEventListener(name, resolve, { once: true });
      video.addEventListener("error", () => reject(new Error(`media: ${video.error?.message}`)), { once: true });
    });
    const loaded = happens("loadedmetadata");
    Object.assign(video, { preload: "metadata", muted: true, src: "/files/tone.wav" });
    await loaded;
    const sought = happens("seeked");
    video.currentTime = Math.floor(video.duration) - 20;
    await sought;
    const state = { at: video.currentTime, duration: video.duration, ready: video.readyState >= 2 };
    video.removeAttribute("src");
    video.load();
    return state;
  });
  checkSame(media, { at: 220, duration: 240, ready: true });
  const ranges = network("/files/tone.wav");
  check(ranges.every(({ status }) => status === 206), `statuses of ranges: ${JSON.stringify(ranges)}`);
  check(ranges.some(({ fields }) => /^bytes=[1-9][0-9]{6,}-/.test(fields.range)), `ranges: ${JSON.stringify(ranges)}`);
  console.log("a media element seeks by ranges");

  await page.goto(url);
  await page.evaluate(installClient);
  const echoed = await page.evaluate(async () => {
    const client = await Client.open("/ws");
    client.socket.send("hello");
    return [await client.next(), (await client.close(1000)).wasClean];
  });
  checkSame(echoed, ["hello", true]);
  console.log("a WebSocket");

  await reconnected;
  console.log("an event stream is continued");
}

const [what, ...rest] = process.argv.slice(2);
const kinds = {
  page: () => [(url) => pageCases(browser, rest[0], url), rest.slice(1)],
  chat: () => [(url) => chatCases(browser, url), rest],
  http: () => [(url) => httpCases(browser, rest[0], url.replace(/\/$/, "")), rest.slice(1)],
};
const [cases, urls] = kinds[what]?.() ?? [null, []];
check(urls.length > 0, "usage: browser.mjs page FOREIGN URL... | chat URL... | http FOLDER URL...");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  timeout: secondsMax * 1000,
  // Nothing but the pages under test: no look-ups of its own, no proxy.
  args: [
    "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--no-proxy-server",
  ],
});
let failure = null;
try {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${secondsMax} s`)), secondsMax * 1000);
  });
  const all = async () => {
    for (const url of urls) {
      console.log(url);
      await cases(url);
    }
  };
  await Promise.race([all(), late]).finally(() => clearTimeout(timer));
} catch (error) {
  failure = error;
} finally {
  await browser.close();
}
if (failure) {
  console.error(failure.stack);
  process.exit(1);
}
