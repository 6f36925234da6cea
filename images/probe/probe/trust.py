"""Whom a process trusts: Reflector's entrypoint, and what each of its TLS clients makes of it."""

import re
import ssl
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import certifi

from probe.environment import Environment, check_of
from probe.wiring import Check, WiringError

CUSTOM_CA = Path("/usr/local/share/ca-certificates/custom-ca.crt")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
"""Where Reflector's docker-entrypoint.sh looks for private roots, and the bundle Debian makes of them (v0.45.0)."""

BUNDLE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""What that entrypoint exports: read by httpx and OpenSSL, by requests and botocore, and by curl."""

GRPC_VARIABLE = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
"""Upstream leaves this unset on purpose: with it, grpcio tries TLS on the plain connection to Hatchet."""

PEM_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def update_ca_certificates() -> None:
    """Run Debian's update-ca-certificates; raises CalledProcessError or OSError where it cannot."""
    subprocess.run(["update-ca-certificates"], check=True, capture_output=True, text=True)


def install_custom_ca(
    custom_ca: Path = CUSTOM_CA, bundle: Path = BUNDLE, update: Callable[[], None] = update_ca_certificates
) -> dict[str, str]:
    """Do what upstream's entrypoint does; returns the variables to export, none without private roots."""
    if not custom_ca.is_file() or custom_ca.stat().st_size == 0:
        return {}
    update()
    return dict.fromkeys(BUNDLE_VARIABLES, str(bundle))


def certificates(path: Path) -> set[bytes]:
    """Every certificate of a PEM file, as DER."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as problem:
        raise WiringError(f"{path} cannot be read: {problem.strerror}") from problem
    return {ssl.PEM_cert_to_DER_cert(block) for block in PEM_CERTIFICATE.findall(text)}


def check_bundle(env: Mapping[str, str], custom_ca: Path = CUSTOM_CA) -> dict[str, Any]:
    """Prove that a backend process sees a bundle in all three variables, with every private root inside it."""
    if env.get(GRPC_VARIABLE):
        raise WiringError(f"{GRPC_VARIABLE} is set: gRPC would then try TLS on the plain connection to Hatchet")
    empty = [name for name in BUNDLE_VARIABLES if env.get(name) == ""]
    if empty:
        raise WiringError(f"{', '.join(empty)} set but empty: botocore, for one, then verifies nothing at all")
    private = certificates(custom_ca) if custom_ca.is_file() and custom_ca.stat().st_size > 0 else set()
    missing = [name for name in BUNDLE_VARIABLES if not env.get(name)]
    if not private:
        named = [name for name in BUNDLE_VARIABLES if name not in missing]
        for name in named:
            _require_roots(name, Path(env[name]))
        return {"private_roots": 0, "variables": named}
    if missing:
        raise WiringError(f"{', '.join(missing)} not set in this process although {custom_ca} holds private roots")
    sizes = {}
    for name in BUNDLE_VARIABLES:
        found = _require_roots(name, Path(env[name]))
        if not private <= found:
            raise WiringError(f"{name}={env[name]} lacks {len(private - found)} of the {len(private)} private roots")
        sizes[name] = len(found)
    return {"private_roots": len(private), "variables": list(BUNDLE_VARIABLES), "certificates": sizes["SSL_CERT_FILE"]}


def bundle_check(env: Environment) -> Check:
    """The private roots in the bundle of this very process, as a check."""

    async def run(given: Environment) -> dict[str, Any]:
        return check_bundle(given.values)

    return check_of(env, "trust", run)


def _require_roots(name: str, bundle: Path) -> set[bytes]:
    found = certificates(bundle)
    if not found:
        raise WiringError(f"{name}={bundle} holds no certificate")
    return found


def check_node(env: Mapping[str, str]) -> dict[str, Any]:
    """Prove what the front end trusts: public roots plus NODE_EXTRA_CA_CERTS, and that it verifies at all."""
    if env.get("NODE_TLS_REJECT_UNAUTHORIZED") == "0":
        raise WiringError("NODE_TLS_REJECT_UNAUTHORIZED=0 switches verification off for every connection; remove it")
    extra = env.get("NODE_EXTRA_CA_CERTS", "")
    if not extra:
        return {"private_roots": 0}
    found = certificates(Path(extra))
    if not found:
        raise WiringError(f"NODE_EXTRA_CA_CERTS={extra} holds no certificate; Node.js would ignore it with a warning")
    return {"private_roots": len(found)}


def node_context(env: Mapping[str, str]) -> ssl.SSLContext:
    """TLS as Node.js does it: its built-in public roots, and NODE_EXTRA_CA_CERTS on top."""
    context = ssl.create_default_context(cafile=certifi.where())
    extra = env.get("NODE_EXTRA_CA_CERTS", "")
    if extra:
        try:
            context.load_verify_locations(cafile=extra)
        except (OSError, ssl.SSLError) as problem:
            raise WiringError(f"NODE_EXTRA_CA_CERTS={extra} cannot be loaded: {problem}") from problem
    return context


def requests_context(env: Mapping[str, str]) -> ssl.SSLContext:
    """TLS as the requests library does it: REQUESTS_CA_BUNDLE, else CURL_CA_BUNDLE, else its own public roots."""
    bundle = env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE") or certifi.where()
    return ssl.create_default_context(cafile=bundle)
