"""Counts and times each request by its route template."""

from app.core.http.exchange import WEBSOCKET, Exchange
from app.core.http.route_template import route_template
from app.core.telemetry.base import Telemetry

# A client may invent methods; it must not invent label values.
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def count_exchange(telemetry: Telemetry, exchange: Exchange) -> None:
    """Tell ``http_requests`` and ``http_request_duration`` with method, route and status.

    A WebSocket may stay for hours, so it has names of its own: ``websocket_connections``, ``websocket_duration``.
    """
    outcome = {"route": route_template(exchange.scope), "status": str(int(exchange.status))}
    if exchange.method == WEBSOCKET:
        telemetry.increment("websocket_connections", **outcome)
        telemetry.timing("websocket_duration", exchange.seconds, **outcome)
        return
    method = exchange.method if exchange.method in METHODS else "OTHER"
    telemetry.increment("http_requests", method=method, **outcome)
    telemetry.timing("http_request_duration", exchange.seconds, method=method, **outcome)
