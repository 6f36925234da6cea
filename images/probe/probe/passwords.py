"""Password hashes in Reflector's format, ``pbkdf2:sha256:<iterations>$<salt>$<digest>``."""

import hashlib
import hmac
import secrets

ITERATIONS = 100_000
"""PBKDF2 rounds of a new hash: the count Reflector v0.45.0 writes. A verifier takes the count from the hash itself."""

SALT_BYTES = 16
"""Random bytes of a new salt: the size Reflector v0.45.0 uses, rendered as 32 hex digits."""


class MalformedHashError(ValueError):
    """The text is not a password hash; the message says what is wrong and never holds the hash."""


def hash_password(password: str, salt: str | None = None, iterations: int = ITERATIONS) -> str:
    """Hash a password; the key material is the salt's hex text itself, not the bytes it stands for."""
    salt = secrets.token_hex(SALT_BYTES) if salt is None else salt
    return f"pbkdf2:sha256:{iterations}${salt}${_digest('sha256', password, salt, iterations)}"


def verify_password(password: str, stored: str) -> bool:
    """True when the password made this hash, compared in constant time; raises MalformedHashError for other text."""
    algorithm, iterations, salt, digest = parse_hash(stored)
    return hmac.compare_digest(_digest(algorithm, password, salt, iterations), digest)


def parse_hash(stored: str) -> tuple[str, int, str, str]:
    """Split a hash into algorithm, iterations, salt and hex digest, or raise MalformedHashError."""
    parts = stored.split("$", 2)
    if len(parts) != 3:
        raise MalformedHashError(
            f"expected pbkdf2:sha256:<iterations>$<salt>$<digest> with two dollar signs, found {len(parts) - 1}; "
            "a hash set through Docker's API takes single dollar signs"
        )
    header, salt, digest = parts
    fields = header.split(":")
    if len(fields) != 3 or fields[0] != "pbkdf2" or not fields[2].isdigit():
        raise MalformedHashError("the part before the first $ must be pbkdf2:<algorithm>:<iterations>")
    if fields[1] not in hashlib.algorithms_available:
        raise MalformedHashError(f"unknown digest algorithm {fields[1]!r}")
    if not salt or not digest:
        raise MalformedHashError("salt and digest must not be empty (a doubled $ leaves the salt empty)")
    return fields[1], int(fields[2]), salt, digest


def _digest(algorithm: str, password: str, salt: str, iterations: int) -> str:
    return hashlib.pbkdf2_hmac(algorithm, password.encode(), salt.encode(), iterations).hex()
