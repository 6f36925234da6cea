"""A browser that goes through the site as people do: headless Chromium with a profile, and a trust, of its own."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver import ChromeOptions, Remote
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.proxy import Proxy, ProxyType
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.e2e.undoing import Undoing
from toolchain import ToolchainError, browser_programs

PAGE_SECONDS: Final = 30
"""Longest wait for a page."""

SIGN_IN_SECONDS: Final = 90
STUCK_SECONDS: Final = 5
"""Longest time for a whole sign-in, and on a page of it that asks for nothing: pages are whole when they are there."""

_NETWORK_CHANGED: Final = "ERR_NETWORK_CHANGED"
"""Why Chrome gives up what it has begun when this machine gets or loses an address, as by anybody's container."""

_NAME_FIELDS: Final = ("uid_field", "email")
"""Ids of the field for who somebody is: the provider's, and that of the site's own form."""

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def _programs() -> dict[str, Path]:
    """Return what it takes, or skip the test where that is missing; in CI the test fails."""
    try:
        return browser_programs()
    except ToolchainError as problem:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(problem))


def _says_gone(problem: WebDriverException) -> bool:
    """Return whether an element was asked for that the page no longer has; in the moment of change Chrome says why."""
    return isinstance(problem, StaleElementReferenceException) or "does not belong to the document" in str(problem)


def _is_gone(element: WebElement) -> bool:
    try:
        element.is_enabled()
    except WebDriverException as problem:
        if _says_gone(problem):
            return True
        raise
    return False


class BrowserError(AssertionError):
    """The browser does not get where it is to go; the message has its address and what it shows."""


class Browser(Undoing):
    """Chromium before one site, which trusts the given authorities besides the public ones, and nothing else.

    No certificate is ever ignored: a site it cannot verify is an error. It reaches no name but those it is given.
    """

    def __init__(
        self, url: str, ca_pem: str, names: Iterable[str], address: str = "127.0.0.1", home: Path | None = None
    ) -> None:
        """`url` is the site's, `ca_pem` holds the authorities; `names` (`*.` for all below one) are at `address`.

        With a `home` that somebody has, what is trusted there is trusted as well.
        """
        self.url = url.rstrip("/")
        self._ca_pem = ca_pem
        self._home = home
        self._rules = ", ".join([*(f"MAP {name} {address}" for name in names), "MAP * ~NOTFOUND", f"EXCLUDE {address}"])
        super().__init__()

    def _start(self) -> None:
        programs = _programs()
        home = self._home
        if home is None:
            home = Path(tempfile.mkdtemp(prefix="reflector-browser-"))
            self._undo.callback(shutil.rmtree, home, ignore_errors=True)
            self._trust(programs["certutil"], home / ".pki" / "nssdb")
        options = ChromeOptions()
        options.binary_location = str(programs["browser"])
        for argument in (
            "--headless=new",
            f"--user-data-dir={home / 'profile'}",
            f"--host-resolver-rules={self._rules}",
            "--no-proxy-server",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",  # a container's is too small
            "--window-size=1280,900",
        ):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium has none for root
        service = Service(
            str(programs["driver"]), env={**os.environ, "HOME": str(home)}, log_output=str(home / "driver.log")
        )
        service.start()
        self._undo.callback(service.stop)
        # The driver is this machine's own, whatever proxy the environment names.
        direct = Proxy({"proxyType": ProxyType.DIRECT})  # type: ignore[no-untyped-call]  # not annotated there
        self._driver = Remote(
            command_executor=service.service_url,
            options=options,
            client_config=ClientConfig(service.service_url, proxy=direct, timeout=2 * PAGE_SECONDS),
        )
        self._undo.callback(self._driver.quit)
        self._driver.set_page_load_timeout(PAGE_SECONDS)

    def _trust(self, certutil: Path, store: Path) -> None:
        """Put the authorities where Chromium looks for those of its user."""
        store.mkdir(parents=True)
        command = (str(certutil), "-d", f"sql:{store}")
        subprocess.run([*command, "-N", "--empty-password"], check=True, capture_output=True)
        for number, authority in enumerate(_CERTIFICATE.findall(self._ca_pem)):
            subprocess.run(
                [*command, "-A", "-n", f"authority-{number}", "-t", "C,,"],
                input=authority.encode(),
                check=True,
                capture_output=True,
            )

    def open(self, path: str) -> str:
        """Go to a page of the site, or to a whole address, and return its text.

        Raises: BrowserError where there is none, or where the other side cannot be verified.
        """
        address = path if "://" in path else f"{self.url}{path}"
        deadline = time.monotonic() + PAGE_SECONDS
        while problem := self._load(address):
            if _NETWORK_CHANGED not in str(problem) or time.monotonic() > deadline:
                raise problem
            time.sleep(0.1)
        return self.text

    def _load(self, address: str) -> BrowserError | None:
        """Go to an address, and return why it is not shown."""
        try:
            self._driver.get(address)
        except WebDriverException as problem:
            return BrowserError(f"{address}: {(problem.msg or '').partition(chr(10))[0]}")
        # An error of the browser's own keeps the address that was asked for, and hides its own from the driver.
        if self._driver.execute_script("return document.location.protocol") == "chrome-error:":
            return self._lost("the page cannot be shown")
        return None

    @property
    def text(self) -> str:
        """What the page shows."""
        return self._driver.find_element(By.TAG_NAME, "body").text

    @property
    def location(self) -> str:
        """The page's address."""
        return self._driver.current_url

    def whoami(self) -> str | None:
        """Return the e-mail of whoever the site says is signed in; None where it offers to sign in."""
        self.open("/")
        shown = self._shown("who")
        if shown is None and self._shown("log-in") is None:
            raise self._lost("the site says neither who is signed in nor how to")
        return None if shown is None else shown.text

    def session(self) -> dict[str, Any]:
        """Return what the site tells its own script of the session, access token and all; empty where there is none.

        The page stays, so that no token is ever in a picture of it.
        """
        if not self.location.startswith(f"{self.url}/"):
            self.open("/")
        answer = self._driver.execute_async_script(
            "const done = arguments[0];"
            "fetch('/api/auth/session').then(answer => answer.text()).then(done, problem => done(String(problem)))"
        )
        try:
            told: dict[str, Any] = json.loads(answer)
        except ValueError:
            raise BrowserError(f"{self.url}/api/auth/session answers {answer!r:.300}") from None
        return told

    def sign_in(self, user: str, password: str) -> str:
        """Sign in from the site's first page, wherever that leads, and return the e-mail it shows at the end.

        Whoever the provider knows already is not asked for anything.
        Raises: BrowserError where the way ends anywhere else: the password is wrong, or he may not enter.
        """
        email = self.whoami()
        given: set[str] = set()
        started = moved = time.monotonic()
        while email is None:
            now = time.monotonic()
            if now > moved + STUCK_SECONDS or now > started + SIGN_IN_SECONDS:
                raise self._lost("there is no way on")
            try:
                if self._at_home() and self._shown("log-out") is not None:
                    email = self.whoami()
                elif self._step(user, password, given):
                    moved = time.monotonic()
                elif _NETWORK_CHANGED in self.text:
                    self._driver.refresh()
                    moved = time.monotonic()
                else:
                    time.sleep(0.1)
            except WebDriverException as problem:
                if not _says_gone(problem) and _NETWORK_CHANGED not in str(problem):
                    raise
                # The page has changed meanwhile.
        return email

    def _step(self, user: str, password: str, given: set[str]) -> bool:
        """Do what the page asks for, and return whether it asked for anything. `given` is what was told before."""
        failure = self._shown("error")
        if failure is not None:
            raise self._lost(failure.text)
        fields = {
            **{name: (self._shown(name), user) for name in _NAME_FIELDS},
            "password": (self._shown("password"), password),
        }
        asked = {name: (field, value) for name, (field, value) in fields.items() if field is not None}
        if asked:
            if asked.keys() <= given:
                raise self._lost(f"asked for {', '.join(sorted(asked))} again")
            for name, (field, value) in asked.items():
                given.add(name)
                field.clear()
                field.send_keys(value)
            last = list(asked.values())[-1][0]
            form = last.find_element(By.XPATH, "./ancestor::form")
            self._follow(form.find_element(By.CSS_SELECTOR, "button:not([type=button]), input[type=submit]"))
            return True
        for name in ("log-in", "sign-in"):
            button = self._shown(name)
            if button is not None:
                self._follow(button)
                return True
        return False

    def _follow(self, button: WebElement) -> None:
        """Press a button that leads to another page, and wait for that one: the driver goes on at once."""
        page = self._driver.find_element(By.TAG_NAME, "html")
        button.click()
        wait = WebDriverWait(self._driver, PAGE_SECONDS, poll_frequency=0.05)
        try:
            wait.until(lambda _: _is_gone(page))
            wait.until(lambda driver: driver.execute_script("return document.readyState") == "complete")
        except TimeoutException:
            raise self._lost(f"no other page within {PAGE_SECONDS} s") from None

    def sign_out(self) -> None:
        """Sign out of the site; the provider still knows who it is."""
        self.open("/")
        button = self._shown("log-out")
        if button is None:
            raise self._lost("nobody is signed in")
        self._follow(button)
        if self.whoami() is not None:
            raise self._lost("somebody is still signed in")

    def forget(self) -> None:
        """Lose every cookie, the provider's among them, as a browser that is started anew."""
        self._driver.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def go_on_regardless(self, path: str) -> None:
        """Open a page whose certificate cannot be verified, and make an exception for its name, as people do."""
        address = path if "://" in path else f"{self.url}{path}"
        with contextlib.suppress(WebDriverException):  # it is told of the warning
            self._driver.get(address)
        # What is typed at Chromium's warning instead of finding the link in it.
        ActionChains(self._driver).send_keys("thisisunsafe").perform()
        try:
            WebDriverWait(self._driver, PAGE_SECONDS, poll_frequency=0.1).until(
                lambda driver: driver.execute_script("return document.location.protocol") == "https:"
            )
        except TimeoutException:
            raise self._lost("the warning stays") from None

    def answer(self, script: str) -> Any:
        """Return what a script in the page calls `done` with."""
        return self._driver.execute_async_script(f"const done = arguments[0]; {script}")

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Look at the page with a screen of this size, one of less than 500 CSS pixels across being a phone's."""
        phone = width < 500
        self._driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": height,
                "screenWidth": width,
                "screenHeight": height,
                "deviceScaleFactor": 2 if phone else 1,
                "mobile": phone,
            },
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def screenshot(self, path: Path) -> None:
        """Write what is shown to a PNG file."""
        if not self._driver.save_screenshot(str(path)):
            raise BrowserError(f"{path} could not be written")

    def _at_home(self) -> bool:
        return self.location.rstrip("/").partition("?")[0] == self.url

    def _shown(self, identity: str) -> WebElement | None:
        try:
            found = self._driver.find_element(By.ID, identity)
        except NoSuchElementException:
            return None
        return found if found.is_displayed() else None

    def _lost(self, reason: str) -> BrowserError:
        return BrowserError(f"{reason}, at {self.location}: {self.text[:500]!r}")
