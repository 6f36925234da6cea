"""The page about the private authority: from what the edge knows to what is served."""

from collections.abc import Mapping

from rendering import trust_page
from rendering.caddyfile import bracketed


def place(domain: str, *, https_port: int, http_port: int, other_names: list[str]) -> trust_page.Place:
    """Return where the page is: at `domain`, a name or an address, by the ports people see."""
    # A tenth of a second, for stacks that have such a page. Here and not where it is used: by the time the roots are
    # known the program is through, and the engine finds no more modules of the checkout.
    import pki.facts
    import pki.pem  # noqa: F401  # loaded for `files`, see above

    host = bracketed(domain)
    return trust_page.Place(
        domain=domain,
        url=f"https://{host}" + ("" if https_port == 443 else f":{https_port}"),
        plain_url=f"http://{host}" + ("" if http_port == 80 else f":{http_port}"),
        other_names=other_names,
    )


def files(where: trust_page.Place | None, roots_pem: str) -> Mapping[str, bytes]:
    """Return the files of the page, by name, from the roots it is about, PEM; none where there is no page.

    Raises: PemError where there is a page and no root.
    """
    if where is None:
        return {}
    from pki.facts import common_name, shown
    from pki.pem import certificates, der

    roots = [
        trust_page.Root(
            der=der(root),
            common_name=common_name(root),
            subject=shown(root.subject),
            not_before=root.not_valid_before_utc,
            not_after=root.not_valid_after_utc,
        )
        for root in dict.fromkeys(certificates(roots_pem.encode()))
    ]
    return trust_page.files(roots, where)
