"""What the engine tells of resources: which of it is secret, known, and a private key."""

import base64
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime import rpc

from policy.properties import is_unknown, keys_in, plain, texts
from testing.certificates import issue
from tests.unit.policy.told import KEY, KEY_LINE, UNKNOWN, secret

CERTIFICATE: Final = issue("a.test", now=datetime.now(UTC)).pem


def test_every_text_is_found_with_its_path_and_whether_it_is_secret() -> None:
    value = {"a": "x", "b": [{"c": secret("y")}, secret({"d": ["z", 1, None, True]})], "e": {"f": secret(UNKNOWN)}}
    found = [(one.path, one.text, one.secret) for one in texts(value)]
    assert found == [("a", "x", False), ("b[0].c", "y", True), ("b[1].d[0]", "z", True)]


def test_of_what_an_exported_state_has_encrypted_nothing_is_a_text() -> None:
    assert list(texts({"a": {rpc._special_sig_key: rpc._special_secret_sig, "ciphertext": "v1:x"}})) == []


def test_the_marks_are_those_of_the_engine() -> None:
    assert secret("x") == {rpc._special_sig_key: rpc._special_secret_sig, "value": "x"}
    assert rpc.UNKNOWN == UNKNOWN


def test_a_value_is_had_without_marks() -> None:
    assert plain({"a": secret(["x", UNKNOWN]), "b": UNKNOWN, "c": 1}) == {"a": ["x", None], "b": None, "c": 1}
    assert [is_unknown(value) for value in (UNKNOWN, secret(UNKNOWN), "x", secret("x"), None, {})] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.replace("\n", "\\n"),
        KEY.replace("\n", "\r\n"),
        f"certificate\n{KEY}more",
        KEY.replace("PRIVATE KEY", "RSA PRIVATE KEY"),
        KEY.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        f"client-key-data: {base64.b64encode(KEY.encode()).decode()}\n",
    ],
)
def test_a_private_key_is_found_in_any_form(text: str) -> None:
    assert keys_in(text) == {KEY_LINE}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the PRIVATE KEY of the house",
        CERTIFICATE.decode(),
        base64.b64encode(CERTIFICATE).decode(),
        KEY.replace("PRIVATE", "PUBLIC"),
        "LS0tLS1CRUdJTi",
    ],
)
def test_what_is_none_is_not(text: str) -> None:
    assert keys_in(text) == set()


@given(st.recursive(st.none() | st.booleans() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)))
def test_no_value_is_too_much(value: object) -> None:
    for one in texts(secret(value)):
        assert one.secret
        keys_in(one.text)
