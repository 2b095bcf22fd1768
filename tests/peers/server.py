#!/usr/bin/env python3
"""An echo server for WebSocket clients, with the `websockets` library.

usage: server.py [compressed | no-takeover] [--tls CERTIFICATE KEY]

Prints its port. The text "ping me" is answered with "pong" after a ping and its pong, and "close me" with close 4321.
Ends at the end of standard input. server.mjs is the same with another library; keep the two alike.
"""

import asyncio
import contextlib
import ssl
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

CLOSE_SECONDS_MAX = 10


async def echo(ws):
    # A close code other than 1000 and 1001 ends the loop with an error.
    with contextlib.suppress(ConnectionClosed):
        async for message in ws:
            if message == "ping me":
                await (await ws.ping(b"tide"))
                await ws.send("pong")
            elif message == "close me":
                await ws.close(4321, "as you wish")
            else:
                await ws.send(message)


async def main():
    arguments = sys.argv[1:]
    context = None
    if "--tls" in arguments:
        at = arguments.index("--tls")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments[at + 1 :])
        arguments = arguments[:at]
    kind = arguments[0] if arguments else ""
    forget = kind == "no-takeover"
    factory = ServerPerMessageDeflateFactory(server_no_context_takeover=forget, client_no_context_takeover=forget)
    async with serve(
        echo,
        "127.0.0.1",
        0,
        ssl=context,
        compression=None,
        extensions=[factory] if kind else None,
        max_size=None,
        max_queue=None,
        ping_interval=None,
        close_timeout=CLOSE_SECONDS_MAX,
    ) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
