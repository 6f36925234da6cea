"""Tests of the toolchain, beside it: standard library, pytest, and what `testing` shares."""
