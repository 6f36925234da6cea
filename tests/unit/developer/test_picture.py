"""The picture in the README shows what the program makes."""

from developer import picture


def test_the_picture_is_the_program() -> None:
    graph = picture.graph()
    edges = graph.edges
    assert ("authority", "edge-certificate") in edges
    assert ("postgres", "hatchet") in edges
    assert ("sign-in", "reflector") in edges
    assert ("server", "worker") in edges, "workers wait for the server, which migrates the database"
    assert ("server", "web") in edges
    assert ("worker", "web") not in edges, "neither needs the other"
    assert {("web", "caddy"), ("worker", "caddy")} <= edges, "the edge opens once all of the application works"
    assert ("server", "caddy") not in edges, "the longer way over the frontend says it"
    assert [container.service for container in graph.containers if container.published] == ["caddy"]
    inside = {container.service for container in graph.containers if container.internal}
    assert inside == {"postgres", "redis", "garage"}
    drawn = picture.drawn()
    assert all(f'"{name}' in drawn for name in graph.components)
    assert all(f'"{container.service}<br/>' in drawn for container in graph.containers)


def test_the_table_shows_where_a_service_is_and_what_it_keeps() -> None:
    rows = {row[0]: row[1:] for row in picture.container_rows()}
    assert len(rows) == len(picture.graph().containers)
    assert rows["`redis`"] == ("cache (no route out)", "redis at /data", "")
    assert rows["`caddy`"][2] == "8080/tcp, 8443/tcp, 8443/udp"
