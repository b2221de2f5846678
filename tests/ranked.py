"""Processes that together train one model, started as torchrun starts them."""

import os
import socket
import subprocess
import sys


def start(world: int, *words: object) -> list[subprocess.Popen[bytes]]:
    """`python WORDS` in `world` processes of one thread each, with the places that torchrun gives."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    running = []
    for rank in range(world):
        place = {key: str(value) for key, value in {**common, "RANK": rank, "LOCAL_RANK": rank}.items()}
        running.append(subprocess.Popen([sys.executable, *map(str, words)], env=os.environ | place))
    return running
