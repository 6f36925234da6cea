"""What the room of data hands over."""

from components import data
from settings.data import Data, Postgres, Redis
from testing import building
from testing.building import Neighbours


def test_there_is_a_database_for_each_name_and_one_cache() -> None:
    settings = Data(postgres=Postgres(memory_mib=700), redis=Redis(memory_mib=100))

    def build(near: Neighbours) -> data.DataServices:
        images = {"postgres": near.image(), "redis": near.image()}
        return data.data_services(settings, near.host, images, databases=["one", "two"], connections=50)

    built = building.build(build)
    assert built.component.databases.keys() == {"one", "two"}
    assert [service.name for service in built.component.services] == ["postgres", "redis"]
    limits = [built.named(f"{name}-container").plain("memory") for name in ("postgres", "redis")]
    assert limits == [700, 100]
