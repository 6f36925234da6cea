"""What the engine starts: the pack, served until the engine has done with it."""

import sys
from pathlib import Path

# The engine starts a pack by its folder; what it is made of is imported by the checkout's own names.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policy.analyzer import serve

serve()
