"""What is raised where Redis cannot be used. Apart from the gateway, so that who handles it does not import redis-py."""


class RedisUnavailable(Exception):
    """Redis gave no usable reply, or the breaker is open. Serve as if it were not there."""


class RedisPoolExhausted(RedisUnavailable):
    """Not sent, because our own requests leave no place. A burst of requests can cause this at will."""
