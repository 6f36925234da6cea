"""PostgreSQL's volume and an image it was not made for: refused, nothing lost, and mended by setting it back."""

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

DATA = "/var/lib/postgresql/data"


def test_another_postgres_is_refused_before_anything_is_touched(deployment: Stack) -> None:
    before = deployment.ids()
    deployment.configure(
        {"images.mode": "upstream", "images.references": {"transcription": "own.test/speech:1.0.0"}},
    )
    output = deployment.run("up").failed().output
    deployment.checkout.configure(deployment.name, {"images.mode": "built"}, without=["images.references"])
    deployment.settled = True
    said = [line for line in output.splitlines() if "for data made by PostgreSQL 15 of Debian" in line]
    assert said, output
    assert "Traceback" not in output
    assert deployment.ids() == before


def test_a_volume_of_another_version_is_not_touched_and_served_again_once_it_fits(deployment: Stack) -> None:
    # As a plain `pulumi up` finds it, which checks nothing before.
    traces = deployment.leave_traces()
    image = deployment.containers()["postgres"]["Image"]
    memory = deployment.setting("data.postgres.memory_mib")
    deployment.settled = False
    deployment.inside("postgres", "sh", "-c", f"echo 14 > {DATA}/PG_VERSION")
    deployment.configure({"data.postgres.memory_mib": memory + 8})
    output = deployment.run("up").failed().output
    assert f"{deployment.prefix}-postgres did not become healthy" in output
    assert "PostgreSQL is not started, and the volume is as it was: its data are of version 14" in output, output

    volume = f"{deployment.prefix}-postgres:{DATA}"
    mend = ("--user", "70:70", "--volume", volume, "--entrypoint", "sh", image, "-c", f"echo 15 > {DATA}/PG_VERSION")
    deployment.host.docker("run", "--rm", *mend)
    deployment.up()
    deployment.wait_until_healthy()
    assert traces.are_found_in(deployment)
    assert deployment.broken_wires() == {}
