"""How the private roots reach the processes that must trust them.

Reflector's own images merge the mounted file into the system store when they start, but only their main process then
knows where to look. Naming the merged store in the container's environment makes it visible to every process: health
checks, `docker exec`, and workers that are started by hand.
"""

from collections.abc import Mapping
from typing import Final

from components.base.handles import TrustBundle
from components.base.service import File

CERTIFICATE_FILE: Final = "/usr/local/share/ca-certificates/custom-ca.crt"
"""Where upstream's entrypoint looks; update-ca-certificates takes only names that end in .crt."""
MERGED_BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"

# gRPC's own variable is left out on purpose: set, it made Hatchet's client speak TLS to a plaintext port upstream.
PYTHON_ENVIRONMENT: Final[Mapping[str, str]] = {
    "SSL_CERT_FILE": MERGED_BUNDLE,
    "REQUESTS_CA_BUNDLE": MERGED_BUNDLE,
    "CURL_CA_BUNDLE": MERGED_BUNDLE,
}
"""For images whose entrypoint merges the file: httpx and aiohttp, requests and botocore, curl."""
NODE_ENVIRONMENT: Final[Mapping[str, str]] = {"NODE_EXTRA_CA_CERTS": CERTIFICATE_FILE}
"""For Node: in addition to the roots it ships. Verification itself is never switched off."""


def trust_file(trust: TrustBundle) -> File:
    """Return the file with the private roots."""
    return File(path=CERTIFICATE_FILE, content=trust.pem)
