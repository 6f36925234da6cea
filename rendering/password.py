"""Hashes of passwords, as those store them who verify them."""

import base64
import hashlib
from typing import Final

ITERATIONS: Final = 100_000
"""As upstream's own provisioning; the verifier reads the count from the hash."""


def password_hash(password: str, salt: str) -> str:
    """Return the hash Reflector's login verifies: `pbkdf2:sha256:<iterations>$<salt>$<digest>`.

    `salt` is hexadecimal text, and enters as that text, not as the bytes it spells
    (upstream's server/reflector/auth/password_utils.py).
    """
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode("ascii"), ITERATIONS)
    return f"pbkdf2:sha256:{ITERATIONS}${salt}${digest.hex()}"


def django_hash(password: str, salt: str) -> str:
    """Return the hash Authentik takes for its administrator: `pbkdf2_sha256$<iterations>$<salt>$<digest>`.

    `salt` is letters and digits (django.contrib.auth.hashers.PBKDF2PasswordHasher).
    """
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode("ascii"), ITERATIONS)
    return f"pbkdf2_sha256${ITERATIONS}${salt}${base64.b64encode(digest).decode('ascii')}"
