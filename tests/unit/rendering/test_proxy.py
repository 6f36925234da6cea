"""What tells programs of a proxy."""

import pytest

from rendering.proxy import environment, with_login


def test_without_a_proxy_there_is_no_variable() -> None:
    assert environment(http=None, https=None, direct=["server"]) == {}


def test_each_variable_stands_there_in_both_spellings() -> None:
    found = environment(http="http://a:1", https="http://b:2", direct=["server", "localhost", "s3.test", "server"])
    assert found == {
        **dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://a:1"),
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://b:2"),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1,0.0.0.0,server,s3.test"),
        "NODE_USE_ENV_PROXY": "1",
    }


def test_a_proxy_for_one_scheme_is_none_for_the_other() -> None:
    assert environment(http=None, https="http://b:2", direct=[]).keys() == {
        "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "NODE_USE_ENV_PROXY",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [("me", "word", "me:word"), ("a@b", "x:/?# é", "a%40b:x%3A%2F%3F%23%20%C3%A9")],
)
def test_a_login_stands_in_the_url_so_that_it_is_one(username: str, password: str, expected: str) -> None:
    assert with_login("http://proxy.test:3128", username, password) == f"http://{expected}@proxy.test:3128"
