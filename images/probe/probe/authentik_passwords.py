"""Password hashes in Django's format, ``pbkdf2_sha256$<iterations>$<salt>$<base64>`` (django.contrib.auth.hashers)."""

import base64
import binascii
import hashlib
import hmac
import secrets

ALGORITHM = "pbkdf2_sha256"

ITERATIONS = 20_000
"""Rounds of a new hash. Django 5.2 takes 1,000,000, which no test has the time for; the hash says how many it took."""

UNUSABLE = "!"
"""How the hash of a user begins who has no password."""


def hash_password(password: str, iterations: int = ITERATIONS) -> str:
    """Hash a password with a new salt."""
    salt = secrets.token_urlsafe(16)
    return f"{ALGORITHM}${iterations}${salt}${_digest(password, salt, iterations)}"


def unusable_password() -> str:
    """What stands for no password: nothing hashes to it."""
    return UNUSABLE + secrets.token_urlsafe(30)


def is_usable(stored: str) -> bool:
    """Whether there is a password at all."""
    return bool(stored) and not stored.startswith(UNUSABLE)


def verify_password(password: str, stored: str) -> bool:
    """True when the password made this hash."""
    if not is_usable(stored):
        return False
    try:
        iterations, salt, digest = parse_hash(stored)
    except ValueError:
        return False
    return hmac.compare_digest(_digest(password, salt, iterations), digest)


def parse_hash(stored: str) -> tuple[int, str, str]:
    """Iterations, salt and digest of a hash; raises ValueError, which never shows the hash, for other text."""
    algorithm, *fields = stored.split("$")
    if algorithm != ALGORITHM or len(fields) != 3:
        raise ValueError("Invalid password hash format: expected pbkdf2_sha256$<iterations>$<salt>$<base64>")
    iterations, salt, digest = fields
    try:
        size = len(base64.b64decode(digest, validate=True))
    except binascii.Error:
        size = 0
    if not iterations.isdigit() or int(iterations) == 0 or not salt or size != hashlib.sha256().digest_size:
        raise ValueError("Invalid password hash: iterations, salt or digest are none")
    return int(iterations), salt, digest


def _digest(password: str, salt: str, iterations: int) -> str:
    return base64.b64encode(hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), iterations)).decode()
