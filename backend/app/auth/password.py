"""Password hashing: bcrypt for what bcrypt can read, bcrypt over SHA-256 for anything longer.

bcrypt reads 72 bytes. Nothing is ever cut off: longer passwords use ``bcrypt_sha256``, in both directions.
All functions here block for a good part of a second; in a request they run in the password executor.
"""

import logging
import unicodedata

from passlib.context import CryptContext
from passlib.hash import bcrypt, bcrypt_sha256

BCRYPT_MAX_BYTES = 72
DEFAULT_ROUNDS = 12

logger = logging.getLogger(__name__)

# Well-formed hashes that no password has: verifying against one costs what verifying against a real one does.
_NO_SALT, _NO_DIGEST = "." * 22, "." * 31
_DUMMY_SHORT = "$2b${rounds:02d}$" + _NO_SALT + _NO_DIGEST
_DUMMY_LONG = "$bcrypt-sha256$v=2,t=2b,r={rounds}$" + _NO_SALT + "$" + _NO_DIGEST

_context = CryptContext(schemes=[bcrypt, bcrypt_sha256])


def hash_password(password: str, *, rounds: int = DEFAULT_ROUNDS) -> str:
    """A salted hash of the whole password; ``rounds`` is bcrypt's cost as a power of two.

    Two forms of one text (NFC, NFD) give the same password (RFC 8265, section 4.2).
    Raises ``ValueError`` for a NUL character, which bcrypt cannot hold.
    """
    text = _normal(password)
    if "\0" in text:
        raise ValueError("A password cannot contain NUL")
    scheme = bcrypt if fits_bcrypt(text) else bcrypt_sha256
    return str(scheme.using(rounds=rounds).hash(text))


def verify_password(password: str, hashed: str | None, *, rounds: int = DEFAULT_ROUNDS) -> bool:
    """Whether ``hashed`` was made from ``password``. Never raises, whatever it is given.

    Without a usable hash it does the same work in vain, so that the time tells nothing.
    """
    text = _normal(password)
    if "\0" in text or not _encodable(text):
        text, hashed = "", None
    if hashed is not None:
        try:
            return _verify(text, hashed, rounds)
        except ValueError:
            logger.warning("password_hash_malformed")
    _work_in_vain(text, rounds)
    return False


def _verify(text: str, hashed: str, rounds: int) -> bool:
    """Raises ``ValueError`` for a hash of unknown kind or form, before any work."""
    scheme = _context.identify(hashed, required=True)
    if scheme == bcrypt.name and not fits_bcrypt(text):
        _work_in_vain(text, rounds)
        return False
    matches = bool(_context.verify(text, hashed))
    # The work that an older, cheaper hash saves: 2**n + (2**n + ... + 2**(rounds - 1)) is 2**rounds.
    for saved in range(_context.handler(scheme).from_string(hashed).rounds, rounds):
        _work_in_vain(text, saved)
    return matches


def needs_rehash(hashed: str, *, rounds: int = DEFAULT_ROUNDS) -> bool:
    """Whether ``hashed`` was made with other parameters than a new hash would be."""
    current = _context.using(bcrypt__rounds=rounds, bcrypt_sha256__rounds=rounds)
    return bool(current.needs_update(hashed))


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def fits_bcrypt(text: str) -> bool:
    """Whether bcrypt reads ``text`` to its end."""
    return len(text.encode()) <= BCRYPT_MAX_BYTES


def _work_in_vain(text: str, rounds: int) -> None:
    dummy = _DUMMY_SHORT if fits_bcrypt(text) else _DUMMY_LONG
    _context.verify(text, dummy.format(rounds=rounds))
