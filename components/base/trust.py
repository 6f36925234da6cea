"""How authorities reach the processes that must trust them; where there are none, nothing does.

Each runtime looks elsewhere. Reflector's own images merge what is mounted into the system store when they start, but
only their main process then knows where to look. Naming the merged store in the container's environment makes it
visible to every process: health checks, `docker exec`, and workers that are started by hand. Node adds a file to the
roots it ships. Go reads the system's file, and every file in a folder that is named to it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from components.base.handles import TrustBundle
from components.base.service import File

DIRECTORY: Final = "/usr/local/share/ca-certificates"
CERTIFICATE_FILE: Final = f"{DIRECTORY}/custom-ca.crt"
"""Where upstream's entrypoint looks; update-ca-certificates takes only names that end in .crt."""
MERGED_BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"


def merged_files(trust: TrustBundle) -> Sequence[File]:
    """Return the files for images whose entrypoint merges them into the system store, one certificate each.

    Of a file with several update-ca-certificates links none into the folder that OpenSSL searches by hashes.
    """
    return [
        File(path=CERTIFICATE_FILE if number == 0 else f"{DIRECTORY}/trusted-{number}.crt", content=certificate)
        for number, certificate in enumerate(trust.certificates)
    ]


def merged_environment(trust: TrustBundle) -> Mapping[str, str]:
    """Return what names that store: to httpx and aiohttp, requests and botocore, curl."""
    # gRPC's own variable is left out on purpose: set, it made Hatchet's client speak TLS to a plaintext port upstream.
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return {name: MERGED_BUNDLE for name in names if trust.certificates}


def one_file(trust: TrustBundle) -> Sequence[File]:
    """Return the one file with all of them, for Node and for Go."""
    return [File(path=CERTIFICATE_FILE, content=trust.pem)] if trust.certificates else []


def node_environment(trust: TrustBundle) -> Mapping[str, str]:
    """Return what names it to Node: in addition to the roots it ships. Verification itself is never switched off."""
    return {"NODE_EXTRA_CA_CERTS": CERTIFICATE_FILE} if trust.certificates else {}


def go_environment(trust: TrustBundle) -> Mapping[str, str]:
    """Return what names its folder to Go, beside the system's file (crypto/x509, root_unix.go)."""
    return {"SSL_CERT_DIR": DIRECTORY} if trust.certificates else {}
