"""The password hash."""

from rendering.password import password_hash


def test_a_password_hash_is_what_reflectors_login_verifies() -> None:
    assert password_hash("correct horse", "0" * 32) == (
        f"pbkdf2:sha256:100000${'0' * 32}$d1d00e0c7f090fa5d647a83a9183353fdb9596f37f0d40589e4d362222dd4432"
    )
