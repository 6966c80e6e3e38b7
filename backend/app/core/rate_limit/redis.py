"""A sliding window in Redis: one script, one round trip, shared by every process, nothing without a TTL."""

from hashlib import blake2b

from redis.asyncio import Redis

from app.core.fail_open import fail_open
from app.core.rate_limit.base import Decision, Key
from app.core.redis import RedisGateway

PREFIX = "rate_limit:v1"
SLICES = 20

# What was admitted is counted in slices of a twentieth of the window. A slice is forgotten when its last request
# is a whole window old, so no interval of that length ever holds more than the limit, and a key never holds more
# than 22 small fields. What is refused is not counted: who waits as long as told will pass.
# The clock is Redis's own, so the processes need not agree on one.
SCRIPT = """
local limit, window, slices = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local newest = string.format('%d', math.floor(now * slices / window))

local used, newest_count, oldest = 0, 0, now
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local count, last = string.match(stored[i + 1], '^(%d+):(%d+)$')
  count, last = tonumber(count), tonumber(last)
  if last <= now - window or last > now + window then
    redis.call('HDEL', KEYS[1], stored[i])
  else
    used, oldest = used + count, math.min(oldest, last)
    if stored[i] == newest then newest_count = count end
  end
end

if used >= limit then
  return {0, 0, oldest + window - now}
end
redis.call('HSET', KEYS[1], newest, string.format('%d:%d', newest_count + 1, now))
redis.call('PEXPIRE', KEYS[1], window)
return {1, limit - used - 1, oldest + window - now}
"""


class RedisRateLimiter:
    """Admits at most ``limit`` requests of a key in any interval of ``window_seconds``."""

    def __init__(self, gateway: RedisGateway, limit: int, window_seconds: int) -> None:
        self.limit = limit
        self._gateway = gateway
        self._arguments = (limit, window_seconds * 1000, SLICES)
        # Other numbers are another count: a lowered limit must not be measured with what the old one let in.
        self._prefix = f"{PREFIX}:{limit}:{window_seconds}:"
        self._script = gateway.client.register_script(SCRIPT)

    @fail_open(returning=None)
    async def hit(self, key: Key) -> Decision | None:
        # Hashed: bounded in length whatever the client sends, and no address in clear in Redis.
        name = self._prefix + blake2b(key().encode(), digest_size=16).hexdigest()

        async def run(client: Redis) -> Decision:
            answer = await self._script(keys=[name], args=self._arguments, client=client)
            return self._read(answer)

        return await self._gateway.run(run)

    def _read(self, answer: object) -> Decision:
        """What the script says. Raises ``ValueError`` where something else has answered."""
        match answer:
            case [0 | 1 as allowed, int(remaining), int(wait)]:
                reset = seconds(wait)
                retry_after = 0 if allowed else reset
                return Decision(bool(allowed), self.limit, remaining, reset, retry_after)
        raise ValueError("not an answer of the script")


def seconds(milliseconds: int) -> int:
    """Whole seconds, rounded up: who waits that long has waited long enough."""
    return -(-milliseconds // 1000)
