"""The table of what many certificates cost."""

from developer import certificates


def test_the_table_tells_what_each_further_one_costs_from_the_last_but_one_size_on() -> None:
    lines = certificates.table({10: [1.0, 2.0, 3.0, 4.0], 100: [2.0, 4.0, 6.0, 8.0], 1000: [11.0, 22.0, 6.0, 17.0]})
    assert lines[2] == "| step | 10 | 100 | 1000 | ms for each more, from 100 on |"
    assert lines[4:] == [
        "| preview, before anything is there | 1.0 s | 2.0 s | 11.0 s | 10 |",
        "| first `up` | 2.0 s | 4.0 s | 22.0 s | 20 |",
        "| `up`, nothing to change | 3.0 s | 6.0 s | 6.0 s | 0 |",
        "| `up` that renews one | 4.0 s | 8.0 s | 17.0 s | 10 |",
    ]


def test_the_program_that_is_measured_can_be_read() -> None:
    compile(certificates._PROGRAM.format(root="/a"), "__main__.py", "exec")
