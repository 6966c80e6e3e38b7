"""TCP keep-alives: an idle connection is not forgotten by what is between, and a dead one is noticed.

Relies on asyncpg 0.32: a connection has its transport in ``_transport``. No other module looks inside asyncpg.
"""

import socket

import asyncpg

# Keeps idle connections alive in firewalls that drop them after minutes; both sides notice a dead one within 90 s.
KEEPALIVE = {"idle": 60, "interval": 10, "count": 3}
CLIENT_KEEPALIVE = {"TCP_KEEPIDLE": "idle", "TCP_KEEPINTVL": "interval", "TCP_KEEPCNT": "count"}


def keep_alive(connection: asyncpg.Connection) -> None:
    """Ask the kernel to look after an idle connection, where it is one of TCP."""
    # asyncpg has no option for it and hides its socket.
    transport = connection._transport  # noqa: SLF001  see above
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, name in CLIENT_KEEPALIVE.items():
        if (number := getattr(socket, option, None)) is not None:  # macOS and Windows lack some
            peer.setsockopt(socket.IPPROTO_TCP, number, KEEPALIVE[name])
