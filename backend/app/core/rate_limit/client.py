"""The key of a client without a verified account: its address."""

from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope


def client_key(scope: Scope) -> str:
    """The client's address; for IPv6 its /64, which is what one customer gets (RFC 6177)."""
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return f"ip:{host}"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return f"ip:{address.ipv4_mapped}"
        return f"ip:{ip_network((address, 64), strict=False)}"
    return f"ip:{address}"
