"""What somebody has put into Redis by hand: A-65."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

from redis.asyncio import Redis

from app.core.cache.redis import MAX_VALUE_BYTES, TOMBSTONE
from app.models.user import caller_key, user_key
from quality.adversarial.attack import attack
from quality.adversarial.context import Context
from quality.adversarial.expect import expect, must
from quality.adversarial.test_caching import ME, name_of, path_of, redis_of, warm

LARGE_BYTES = 50_000_000


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (os.mkdir, (str(self.folder),))


@attack(
    "A-65",
    "garbage, another's entry, pickle, 50 MB or another type in Redis",
    "the database's response; the entry is replaced",
    modules=True,
    live=True,
)
async def test_poisoned_entries(context: Context) -> None:
    crater = context.folder / "crater"
    async with redis_of(context) as redis:
        for key_of, path in ((user_key, path_of(context.alice)), (caller_key, ME)):
            name = name_of(context, key_of(context.alice.id))
            await warm(context.bob, context)
            others = await redis.get(name_of(context, key_of(context.bob.id))) or b""
            own_label = name.encode() + b"\n"
            for what, value in {
                "garbage": b"\x00\xff" * 100,
                "somebody else's entry": others,
                "JSON of another form": own_label + b'{"id": 1}',
                "JSON that ends early": own_label + b'{"id": "',
                "JSON nested 100,000 times": own_label + b"[" * 50_000,
                "too many bytes": own_label + b" " * (MAX_VALUE_BYTES + 1),
                "pickle": pickle.dumps(Bomb(crater)),
                "pickle behind the key": own_label + pickle.dumps(Bomb(crater)),
                "50 MB": own_label + b"x" * LARGE_BYTES,
            }.items():
                with context.variant(f"{name.split(':')[-3]}: {what}"):
                    await redis.set(name, value)
                    await check_poisoned(context, redis, name, path)
            for kind, plant in PLANTS.items():
                with context.variant(f"{name.split(':')[-3]}: {kind}"):
                    await redis.delete(name)
                    await plant(redis, name)
                    await check_poisoned(context, redis, name, path)
    must(not crater.exists(), "the pickle was opened")


async def plant_hash(redis: Redis, name: str) -> None:
    await redis.hset(name, mapping={"id": "1"})


async def plant_list(redis: Redis, name: str) -> None:
    await redis.rpush(name, "1")


async def plant_set(redis: Redis, name: str) -> None:
    await redis.sadd(name, "1")


async def plant_sorted_set(redis: Redis, name: str) -> None:
    await redis.zadd(name, {"1": 1})


async def plant_stream(redis: Redis, name: str) -> None:
    await redis.xadd(name, {"id": "1"})


PLANTS = {
    "a hash": plant_hash,
    "a list": plant_list,
    "a set": plant_set,
    "a sorted set": plant_sorted_set,
    "a stream": plant_stream,
}


async def check_poisoned(context: Context, redis: Redis, name: str, path: str) -> None:
    """Twice what the database says, and what was planted is gone."""
    for _ in range(2):
        response = await context.get(path, context.alice.token)
        expect(response, 200)
        must(response.json()["id"] == str(context.alice.id), "somebody else's data")
        must(response.json()["email"] == context.alice.email, "somebody else's data")
    must(await redis.get(name) == TOMBSTONE, "it is still there")
    must(await redis.ttl(name) > 0, "it never expires")
