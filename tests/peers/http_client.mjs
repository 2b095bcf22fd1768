#!/usr/bin/env node
// Uses every route of the example `http`, with Node's fetch as the client.
//
// usage: http_client.mjs URL FOLDER
//
// FOLDER is the folder that the server has at /files.
// Prints one line for each case that passed. At the first that does not, says why and exits with status 1.
// http_client.py is the same list with Python's libraries; keep the two alike.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const [url, folder] = process.argv.slice(2);
const TIMEOUT = 30_000; // the largest case takes less than a second; this only ends a hang

function ask(path, options = {}) {
  return fetch(url + path, { signal: AbortSignal.timeout(TIMEOUT), ...options });
}

async function test(name, run) {
  try {
    await run();
  } catch (error) {
    throw new Error(`${name}: ${error.message}`, { cause: error });
  }
  console.log('ok', name);
}

function events(text) {
  return text.split('\n').filter((line) => line.startsWith('data: ')).map((line) => line.slice(6));
}

await test('plaintext', async () => assert.equal(await (await ask('/plaintext')).text(), 'Hello, World!'));
await test('query', async () => {
  assert.deepEqual(await (await ask(`/json?name=${encodeURIComponent('Jürgen & co')}`)).json(), { hello: 'Jürgen & co' });
});
await test('JSON', async () => {
  const json = { 'content-type': 'application/json' };
  const answer = await ask('/json', { method: 'POST', headers: json, body: '{"a":[1,null]}' });
  assert.deepEqual(await answer.json(), { a: [1, null] });
  for (const [body, headers, status] of [['{', json, 400], ['[1]', json, 422], ['{}', {}, 415]]) {
    const refused = await ask('/json', { method: 'POST', headers, body });
    assert.equal(refused.status, status);
    assert.deepEqual(Object.keys(await refused.json()), ['error']);
  }
});
await test('urlencoded form', async () => {
  const fields = await (await ask('/form', { method: 'POST', body: new URLSearchParams({ a: 'b c', d: '' }) })).json();
  assert.deepEqual(fields.map(({ name, bytes }) => [name, bytes]), [['a', 3], ['d', 0]]);
});
await test('multipart form', async () => {
  const form = new FormData();
  form.set('text', 'hello');
  form.set('file', new Blob([new Uint8Array(100_000)]), 'ü.bin');
  const fields = await (await ask('/form', { method: 'POST', body: form })).json();
  assert.deepEqual(fields.map(({ name, file, bytes }) => [name, file, bytes]), [['text', null, 5], ['file', 'ü.bin', 100_000]]);
});
await test('cookies', async () => {
  const first = await ask('/cookie');
  assert.equal(await first.text(), 'visit 1\n');
  const [cookie] = first.headers.getSetCookie()[0].split(';');
  assert.equal(await (await ask('/cookie', { headers: { cookie } })).text(), 'visit 2\n');
});
await test('redirect', async () => {
  const answer = await ask('/redirect');
  assert.deepEqual([answer.status, answer.redirected, answer.url], [200, true, `${url}/`]);
  await answer.text();
});
await test('chunked echo', async () => {
  const body = new ReadableStream({
    start(controller) {
      for (let i = 0; i < 10; i++) controller.enqueue(new Uint8Array(100_000));
      controller.close();
    },
  });
  const answer = await ask('/echo', { method: 'POST', body, duplex: 'half' });
  assert.equal((await answer.arrayBuffer()).byteLength, 1_000_000);
});
await test('events', async () => {
  assert.deepEqual(events(await (await ask('/events?n=3')).text()), ['event 0', 'event 1', 'event 2']);
  const resumed = await ask('/events?n=5', { headers: { 'last-event-id': '2' } });
  assert.deepEqual(events(await resumed.text()), ['event 3', 'event 4']);
});
await test('client', async () => {
  const client = await (await ask('/client', { headers: { forwarded: 'for=192.0.2.7;proto=https;host=a.example' } })).json();
  assert.deepEqual([client.address, client.scheme, client.host], ['192.0.2.7', 'https', 'a.example']);
});
await test('metrics', async () => assert.match(await (await ask('/metrics')).text(), /^tidegate_connections \d+$/m));
await test('panic', async () => assert.equal((await ask('/panic')).status, 500));
await test('compressed JSON', async () => {
  const answer = await ask(`/json?name=${'tide'.repeat(1000)}`, { headers: { 'accept-encoding': 'gzip' } });
  assert.equal(answer.headers.get('content-encoding'), 'gzip');
  assert.deepEqual(await answer.json(), { hello: 'tide'.repeat(1000) });
});
await test('files', async () => {
  const large = readFileSync(`${folder}/large.bin`);
  const whole = await ask('/files/large.bin');
  assert.ok(large.equals(Buffer.from(await whole.arrayBuffer())), 'the whole file');
  const part = await ask('/files/large.bin', { headers: { range: 'bytes=1000000-1999999' } });
  assert.deepEqual([part.status, part.headers.get('content-range')], [206, `bytes 1000000-1999999/${large.length}`]);
  assert.ok(large.subarray(1_000_000, 2_000_000).equals(Buffer.from(await part.arrayBuffer())), 'a range');
  const unchanged = await ask('/files/large.bin', { headers: { 'if-none-match': whole.headers.get('etag') } });
  assert.deepEqual([unchanged.status, await unchanged.text()], [304, '']);
});
