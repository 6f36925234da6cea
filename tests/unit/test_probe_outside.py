"""Calls to somebody nobody configured are tried for real, and nothing comes of them."""

import logging

import pytest
from probe.outside import call_out


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "https://nobody.invalid"])
def test_a_call_that_fails_is_told_and_forgotten(caplog: pytest.LogCaptureFixture, url: str) -> None:
    with caplog.at_level(logging.WARNING):
        thread = call_out(url, "NAME is not set")
        # It must not keep a process that is told to stop.
        assert thread.daemon
        thread.join(30)
    (record,) = caplog.records
    assert record.getMessage().startswith("calling out to ")
    assert "(NAME is not set)" in record.getMessage()
