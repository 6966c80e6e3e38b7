"""Accounts that stay as they are: other identities change and delete whatever they find, and one must not end another's run."""

import asyncpg

from quality.testkit.services import Account

# A change is made and forgotten, a deleted row comes back.
STAYS = """
CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN RETURN OLD; END IF;
    INSERT INTO users SELECT (OLD).*;
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER stays_{number} {moment} ON users FOR EACH ROW WHEN (OLD.id = '{id}') EXECUTE FUNCTION stays()
"""


async def keep(database_url: str, *accounts: Account) -> None:
    """Let the database keep the rows of these accounts. Their sessions can be ended, and they can log in again."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(STAYS)
    for number, account in enumerate(accounts):
        for moment in ("BEFORE UPDATE", "AFTER DELETE"):
            name = f"{number}_{moment[:6].strip().lower()}"
            await connection.execute(TRIGGER.format(number=name, moment=moment, id=account.id))
    await connection.close()
