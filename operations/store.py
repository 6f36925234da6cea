"""Whether a store elsewhere is in the region the settings say, by its own answer, before anything is changed.

A signature is made for a region, and a store takes none that is made for another (AuthorizationHeaderMalformed). It
says so before it looks at the signature itself, and says which it expects; so it is asked without the secret key, which
is encrypted here. Whoever gets no answer here knows nothing: containers may be where there is one.
"""

import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from typing import IO, Any, Final

from settings import Problem, Settings
from settings.storage import External

_TIMEOUT_SECONDS: Final = 5
_LONGEST_ANSWER: Final = 16 * 1024
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of no body."""
_REGION: Final = re.compile(rb"<Region>([A-Za-z0-9-]+)</Region>")
_CODE: Final = re.compile(rb"<Code>AuthorizationHeaderMalformed</Code>")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What came of asking."""

    problems: list[Problem] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


class _Here(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: where it is sent is an answer too."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def look_at_store(settings: Settings) -> Asked:
    """Return what is wrong with the region of a store elsewhere; nothing where there is none."""
    store = settings.storage
    if not isinstance(store, External):
        return Asked()
    url = store.endpoint or f"https://s3.{store.region}.amazonaws.com"
    try:
        expected = _expected_region(settings, store, url)
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        return Asked(
            hints=[
                f"The store at {url} could not be asked from here for its region ({reason}); containers may reach it"
            ]
        )
    return Asked(problems=list(_problems(store, url, expected)))


def _problems(store: External, url: str, expected: str | None) -> Iterator[Problem]:
    if expected is not None and expected != store.region:
        yield Problem(
            setting="storage.region",
            given=f"{store.region!r}, while the store at {url} expects region {expected!r}",
            allowed=f"{expected}: what is signed for another region it refuses",
            remedy=f"Set it: pulumi config set --path storage.region {expected}",
        )


def _expected_region(settings: Settings, store: External, url: str) -> str | None:
    """Return the region the store says it is in; None where it says nothing of it.

    Raises: OSError where there is no answer.
    """
    now = datetime.now(UTC)
    scope = f"{now:%Y%m%d}/{store.region}/s3/aws4_request"
    request = urllib.request.Request(
        f"{url}/{store.bucket}?location",
        headers={
            "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
            "X-Amz-Content-Sha256": _EMPTY,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={store.access_key_id}/{scope}, "
            f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={'0' * 64}",
        },
    )
    context = ssl.create_default_context()
    for pem in settings.trusted_certificates:
        context.load_verify_locations(cadata=pem)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Here())
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            return _told(answer.headers, b"")
    except urllib.error.HTTPError as refusal:
        with refusal:
            return _told(refusal.headers, refusal.read(_LONGEST_ANSWER))


def _told(headers: Message, body: bytes) -> str | None:
    """Return the region an answer tells: AWS does in a header, of whatever bucket it is asked for."""
    header = headers.get("X-Amz-Bucket-Region")
    if header:
        return str(header)
    found = _REGION.search(body) if _CODE.search(body) else None
    return found[1].decode("ascii") if found else None
