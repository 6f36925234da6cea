"""The page about trust, made when the roots are known: by then the program is through."""

import subprocess
import sys
from typing import Final

from testing.certificates import certificate
from testing.sources import ROOT

PROGRAM: Final = """
import sys
sys.path.insert(0, sys.argv[1])
from components.edge import trust_page
place = trust_page.place("a.test", https_port=443, http_port=80, other_names=[])
# As the engine leaves it: what comes later finds no module of the checkout.
sys.path.remove(sys.argv[1])
print(trust_page.files(place, sys.stdin.read())["fingerprint.txt"].decode())
"""


def test_the_page_is_made_after_the_program_is_through() -> None:
    pem, _ = certificate("the root")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT)], input=pem, capture_output=True, text=True, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr
    assert "SHA-256" in done.stdout
