"""The Dockerfiles and models of the development images, as sources."""

import re
from pathlib import Path

import pytest

from toolchain import images
from toolchain.layout import ROOT
from toolchain.tests.bench import Bench


def instructions(name: str) -> list[tuple[str, str]]:
    text = (ROOT / "images" / name / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", images.IMAGES)
def test_a_dockerfile_is_built_on_its_base_and_nothing_else(name: str) -> None:
    given = instructions(name)

    if images.IMAGES[name].base is None:
        assert given[0] == ("FROM", "scratch")
    else:
        assert given[:2] == [("ARG", "BASE"), ("FROM", "${BASE}")]
    assert [word for word, _ in given].count("FROM") == 1


@pytest.mark.parametrize("name", images.IMAGES)
def test_a_dockerfile_needs_neither_network_nor_buildkit(name: str) -> None:
    text = (ROOT / "images" / name / "Dockerfile").read_text()

    assert not text.startswith("# syntax"), "a frontend would be pulled from a registry"
    for word, rest in instructions(name):
        assert word in {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "STOPSIGNAL", "USER",
                        "VOLUME", "WORKDIR"}  # fmt: skip
        if word in {"ADD", "COPY", "RUN"}:
            assert not rest.startswith("--"), f"the classic builder does not know {rest.split()[0]}"
            assert "<<" not in rest
        if word == "RUN":
            assert not re.search(r"\b(apt|apt-get|pip|curl|wget|git)\b", re.sub(r"for name in [^;]*", "", rest))
        if word == "ADD":
            assert "://" not in rest


@pytest.mark.parametrize("name", images.IMAGES)
def test_what_a_dockerfile_copies_is_in_its_context(name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    images.stage(bench.parts, bench.out)

    for word, rest in instructions(name):
        if word in {"ADD", "COPY"}:
            *given, _ = rest.split()
            assert given
            for path in given:
                assert (bench.out / name / path).exists(), path


@pytest.mark.parametrize(
    ("name", "user"),
    [("postgres", "70:70"), ("redis", "999:1000"), ("garage", None), ("caddy", None), ("ollama", None)],
)
def test_services_run_as_in_the_official_images_and_own_their_volumes(name: str, user: str | None) -> None:
    """None is root, as the official images have it: then the volumes are root's without further ado."""
    given = instructions(name)
    volumes = [path for word, rest in given if word == "VOLUME" for path in rest.split()]

    assert volumes
    assert [rest for word, rest in given if word == "USER"] == ([user] if user else [])
    runs = " ".join(rest for word, rest in given if word == "RUN")
    if user is None:
        assert " -o " not in runs
        assert "chown" not in runs
        return
    uid, gid = user.split(":")
    found = re.findall(rf"install -d -o {uid} -g {gid} -m \d+ ((?:/\S+ ?)+)", runs)
    assert set(volumes) <= {path for paths in found for path in paths.split()}
    # The folder must be made before it is declared: what a build changes in a volume afterwards is dropped.
    assert [word for word, _ in given].index("RUN") < [word for word, _ in given].index("VOLUME")


def test_the_second_model_shares_the_first_one_s_weights() -> None:
    models = ROOT / "images" / "ollama" / "models"
    for name in ("tiny", "tiny-next"):
        modelfile = (models / name / "Modelfile").read_text()
        weights = re.search(r"^FROM (\S+)$", modelfile, re.MULTILINE)
        assert weights is not None
        assert (models / name / weights.group(1)).resolve() == models / "tiny" / "model.gguf"
        assert ".Tools" in modelfile, "Reflector asks only models that can call tools"
