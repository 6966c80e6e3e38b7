"""A sliding window in Redis: one script, one round trip, shared by every process, nothing without a TTL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse

from app.core.redis.gateway import RedisGateway

PREFIX = "rate_limit:v1"
BUCKETS = 20

# Counts one more under every key, or under none where one of them has reached its limit.
# Admitted requests are counted in buckets of a twentieth of the window. A bucket expires when its last request
# is a whole window old, so no interval of that length ever holds more than the limit, and a key never holds more
# than 22 small fields. Rejected requests are not counted, so a client that waits ``Retry-After`` is admitted.
# The clock is Redis's own, so the processes need not agree on one.
ADMIT = """
local window, buckets = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local newest = string.format('%d', math.floor(now * buckets / window))

local counts, remaining, reset, wait = {}, math.huge, 0, 0
for i, key in ipairs(KEYS) do
  local limit, used, newest_count, oldest = tonumber(ARGV[2 + i]), 0, 0, now
  local stored = redis.pcall('HGETALL', key)
  if stored.err then -- of another type: not ours, so nobody is limited by it
    redis.call('DEL', key)
    stored = {}
  end
  for j = 1, #stored, 2 do
    local count, last = string.match(stored[j + 1], '^(%d+):(%d+)$')
    count, last = tonumber(count), tonumber(last)
    if not last or last <= now - window or last > now + window then
      redis.call('HDEL', key, stored[j])
    else
      used, oldest = used + count, math.min(oldest, last)
      if stored[j] == newest then newest_count = count end
    end
  end
  counts[i], remaining = newest_count, math.min(remaining, limit - used)
  reset = math.max(reset, oldest + window - now)
  if used >= limit then wait = math.max(wait, oldest + window - now) end
end

if wait > 0 then
  return {0, 0, wait, newest}
end
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, newest, string.format('%d:%d', counts[i] + 1, now))
  redis.call('PEXPIRE', key, window)
end
return {1, remaining - 1, reset, newest}
"""

# Releases one from the bucket that has counted it. Where the bucket is gone, so is what was counted.
RELEASE = """
for _, key in ipairs(KEYS) do
  local count, last = string.match(redis.call('HGET', key, ARGV[1]) or '', '^(%d+):(%d+)$')
  if count == '1' then
    redis.call('HDEL', key, ARGV[1])
  elseif count then
    redis.call('HSET', key, ARGV[1], string.format('%d:%d', count - 1, last))
  end
end
"""


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether one more was counted, and in which bucket. ``wait`` is ``Decision.reset`` in milliseconds."""

    allowed: bool
    remaining: int
    wait: int
    bucket: bytes


class SlidingWindow:
    """Counts over one length of time. Raises ``RedisUnavailable``, which each user handles."""

    def __init__(self, gateway: RedisGateway, window_seconds: int) -> None:
        self._gateway = gateway
        self._seconds = window_seconds
        self._admit = gateway.client.register_script(ADMIT)
        self._release = gateway.client.register_script(RELEASE)

    def name(self, limit: int, key: str, together: str = "") -> str:
        """The name of the count of ``key``. Other limits have other counts: a lowered limit starts at zero.

        Hashed: bounded in length whatever the client sends, and no address in clear in Redis. Names that are counted
        by one call have the same ``together``, a hash tag: a Redis Cluster then keeps them in one slot.
        """
        digest = blake2b(key.encode(), digest_size=16).hexdigest()
        tag = f"{{{together}}}:" if together else ""
        return f"{PREFIX}:{tag}{limit}:{self._seconds}:{digest}"

    async def admit(self, limits: Mapping[str, int]) -> Admission:
        """Count one more under every name, if none of them has reached its limit."""
        arguments = (self._seconds * 1000, BUCKETS, *limits.values())

        async def run(client: Redis) -> Admission:
            return read(await self._admit(keys=list(limits), args=arguments, client=client))

        return await self._gateway.run(run)

    async def release(self, names: Sequence[str], admission: Admission) -> None:
        """Under ``names``, ``admission`` has never been counted."""

        async def run(client: Redis) -> None:
            await self._release(keys=names, args=(admission.bucket,), client=client)

        await self._gateway.run(run)

    async def reset(self, name: str) -> None:
        """Start the count of ``name`` again."""

        async def run(client: Redis) -> None:
            await client.delete(name)

        await self._gateway.run(run)


def read(response: object) -> Admission:
    """The decision of the script. Raises ``InvalidResponse`` where the reply is another one."""
    match response:
        case [0 | 1 as allowed, int(remaining), int(wait), bytes(number)]:
            return Admission(bool(allowed), remaining, wait, number)
    raise InvalidResponse("not a reply of the script")


def seconds(milliseconds: int) -> int:
    """Whole seconds, rounded up, so that waiting that long is enough."""
    return -(-milliseconds // 1000)
