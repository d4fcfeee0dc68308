"""Both ends of WebSocket by the package `websockets`: `websocket.py serve HOST PORT` sends every message back,
`websocket.py ask URL` sends messages of many sizes and exits with 0 when all of them came back."""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

SIZES = [0, 1, 125, 126, 65_535, 65_536, 1_000_000]


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def run_server(host, port):
    async with serve(echo, host, int(port), max_size=None) as server:
        await server.serve_forever()


async def ask(url):
    async with connect(url, max_size=None, compression=None) as connection:
        for size in SIZES:
            for message in ("t" * size, b"b" * size):
                await connection.send(message)
                assert await connection.recv() == message, size
        await (await connection.ping())
        # Many on their way at once.
        for number in range(500):
            await connection.send(str(number))
        for number in range(500):
            assert await connection.recv() == str(number)
    assert connection.close_code == 1000, connection.close_code


if sys.argv[1] == "serve":
    asyncio.run(run_server(*sys.argv[2:]))
else:
    asyncio.run(asyncio.wait_for(ask(sys.argv[2]), 60))
