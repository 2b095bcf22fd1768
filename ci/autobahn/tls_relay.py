#!/usr/bin/env python3
"""Accepts plain connections and passes them on over TLS, for a client that speaks none.

usage: tls_relay.py LISTEN_PORT SERVER_PORT        (both on 127.0.0.1; the server's certificate is not checked)
"""

import asyncio
import ssl
import sys

CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    try:
        to_server = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]), ssl=CONTEXT)
    except (ConnectionError, ssl.SSLError):
        writer.close()
        return
    await asyncio.gather(copy(reader, to_server[1]), copy(to_server[0], writer))


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
