"""The probe hashes and verifies as Reflector does."""

import pytest
from probe.passwords import MalformedHashError, hash_password, parse_hash, verify_password

# Computed with Reflector's own password_utils: the salt is its hex text, not the bytes it stands for.
KNOWN = f"pbkdf2:sha256:100000${'0' * 32}$d1d00e0c7f090fa5d647a83a9183353fdb9596f37f0d40589e4d362222dd4432"


def test_the_known_hash_comes_out() -> None:
    assert hash_password("correct horse", salt="0" * 32) == KNOWN


def test_only_the_right_password_verifies() -> None:
    assert verify_password("correct horse", KNOWN)
    assert not verify_password("correct horse ", KNOWN)


def test_the_count_of_rounds_comes_from_the_hash() -> None:
    assert verify_password("pw", hash_password("pw", salt="ab" * 16, iterations=7))


def test_two_hashes_of_one_password_differ() -> None:
    first, second = hash_password("pw", iterations=1), hash_password("pw", iterations=1)
    assert first != second
    assert len(parse_hash(first)[2]) == 32


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "found 0"),
        ("pbkdf2:sha256:100000$salt", "found 1"),
        (KNOWN.replace("$", "$$"), "doubled"),
        ("bcrypt:sha256:10$a$b", "must be pbkdf2"),
        ("pbkdf2:sha256:many$a$b", "must be pbkdf2"),
        ("pbkdf2:md99:10$a$b", "unknown digest"),
    ],
)
def test_other_text_is_refused_without_being_shown(text: str, reason: str) -> None:
    with pytest.raises(MalformedHashError, match=reason) as problem:
        verify_password("pw", text)
    assert not text or text not in str(problem.value)
