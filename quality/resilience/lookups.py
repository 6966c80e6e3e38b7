"""The application, in a process whose lookups of names below chaos.test do as a file says: fail, hang, or succeed.

For uvicorn with ``--loop asyncio``: uvloop does not ask Python to look names up.
"""

import os
import socket
import time
from pathlib import Path
from typing import Any

from app.main import app
from quality.testkit.server import HOST

__all__ = ["app"]

LOOK_AGAIN_SECONDS = 0.05

real_lookup = socket.getaddrinfo


# Any: this takes and gives what socket.getaddrinfo does, whatever that is.
def lookup(host: Any, *arguments: Any, **named: Any) -> Any:
    if not str(host).endswith(".chaos.test"):
        return real_lookup(host, *arguments, **named)
    said = Path(os.environ["CHAOS_LOOKUPS"])
    while said.read_text(encoding="ascii") == "hang":
        time.sleep(LOOK_AGAIN_SECONDS)
    if said.read_text(encoding="ascii") == "fail":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return real_lookup(HOST, *arguments, **named)


socket.getaddrinfo = lookup
