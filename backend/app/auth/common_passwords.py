"""Recognises common passwords: the most frequent ones by a list, and by rules what varies them.

The rules find patterns, repetitions, and one well-known word with decoration: see backend/docs/AUTH_MODEL.md.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from app.core.settings.auth import PASSWORD_FLOOR

# The top of every list of leaked passwords, without the digits and signs around each word.
TOP = """
access admin administrator alexander andrea andrew anthony arsenal ashley babygirl bailey
barcelona baseball basketball batman benjamin buster butterfly changeme charlie cheese chelsea
chocolate computer cookie corvette daniel danielle default diamond dragon elizabeth facebook
family flower football forever freedom friends george ginger google hannah harley hello hunter
iloveu iloveyou internet jasmine jennifer jessica jesus jonathan jordan joshua justin killer
letmein linkedin liverpool login london love lovely loveme loveyou manchester master matrix
matthew maverick mercedes metallica michael michelle midnight minecraft money monkey mustang
myspace naruto nicholas nicole ninja nothing pass passwd password passwort patrick pepper pokemon
princess qwerty robert samantha samsung scorpion secret shadow slipknot snoopy soccer spiderman
spongebob startrek starwars steelers stephanie summer sunshine superman superstar taylor test
thomas tigger trustno user victoria welcome whatever william winter
"""
WORDS = frozenset(TOP.split())

# Rows of a keyboard and the alphabet, in both directions. The line breaks between them are in no password.
ROWS = """
abcdefghijklmnopqrstuvwxyz
01234567890
qwertyuiop
asdfghjkl
zxcvbnm
qwertzuiop
yxcvbnm
azertyuiop
qsdfghjklm
1qaz
2wsx
3edc
4rfv
5tgb
6yhn
7ujm
147
258
369
159
357
"""
WALKS = ROWS + ROWS[::-1]
SHORTEST_WALK = 3
LONG = 16  # repeated as far as that, a block is nobody's first guess

UNSHIFTED = str.maketrans("!@#$%^&*()", "1234567890")
LEET = str.maketrans("01345678@$!|", "oieasgtbasil")

# Sorted digests, by scripts/common_passwords.py: 18 kB, where a set of the words takes 300.
LISTED = Path(__file__).with_suffix(".bin").read_bytes()
DIGEST_BYTES = 6


def is_guessable(text: str, personal: Iterable[str]) -> bool:
    """Whether ``text`` is a frequent password, a pattern, or no more than one word: a common one, or one of ``personal``."""
    if is_listed(text):
        return True
    word = bare(text)
    if word and (word in WORDS or word in map(bare, personal)):
        return True
    return is_repetition(text) or is_pattern(text.lower().translate(UNSHIFTED))


def is_listed(text: str) -> bool:
    """Whether ``text`` is one of the 3,000 most frequent passwords of eight characters or more, in any case of letters."""
    wanted = sha256(text.casefold().encode()).digest()[:DIGEST_BYTES]
    place = bisect_left(range(len(LISTED) // DIGEST_BYTES), wanted, key=_entry)
    return _entry(place) == wanted


def _entry(index: int) -> bytes:
    return LISTED[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]


def is_repetition(text: str) -> bool:
    """``abcabcabc``, cut off anywhere: a block that would be too short, and then the same again."""
    sizes = range(1, min(PASSWORD_FLOOR, len(text) // 2 + 1))
    repeats = any(text == (text[:size] * len(text))[: len(text)] for size in sizes)
    return repeats and len(text) < LONG


def is_pattern(text: str) -> bool:
    """``qwertyuiop``, ``abc123xyz``, ``11223344``, ``1q2w3e4r``: a third of the characters tells the rest."""
    zipped = text[::2] + text[1::2]
    return any(3 * pieces(re.sub(r"(.)\1{1,2}", r"\1", way)) <= len(text) for way in (text, zipped))


def pieces(text: str) -> int:
    """The number of walks and single characters that ``text`` splits into."""
    count = at = 0
    while at < len(text):
        length = SHORTEST_WALK
        while at + length <= len(text) and text[at : at + length] in WALKS:
            length += 1
        at += length - 1 if length > SHORTEST_WALK else 1
        count += 1
    return count


def bare(text: str) -> str:
    """The letters of ``text``, without decoration around the word and with substitutes (0 for o) undone."""
    inner = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text.casefold())
    return "".join(filter(str.isalpha, inner.translate(LEET)))
