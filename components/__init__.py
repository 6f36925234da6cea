"""The parts of a Reflector deployment, one ComponentResource per module.

Components never read configuration and never import each other; they meet in `__main__.py`, by the typed values of
`handover.py`. `s3.py` stays out of this list because importing the AWS SDK costs time that only its users should pay.
"""

from components.authority import Authority, AuthorityArgs
from components.caddy import Caddy, CaddyArgs
from components.certificate import Certificate, CertificateArgs
from components.daemon import Daemon
from components.garage import Garage, GarageArgs
from components.hatchet import Hatchet, HatchetArgs
from components.host import Host, HostArgs
from components.image import ImageArgs, Images, ImagesArgs
from components.ollama import Ollama, OllamaArgs
from components.postgres import Postgres, PostgresArgs
from components.redis import Redis, RedisArgs
from components.reflector import Reflector, ReflectorArgs
from components.transcription import Transcription, TranscriptionArgs

__all__ = [
    "Authority",
    "AuthorityArgs",
    "Caddy",
    "CaddyArgs",
    "Certificate",
    "CertificateArgs",
    "Daemon",
    "Garage",
    "GarageArgs",
    "Hatchet",
    "HatchetArgs",
    "Host",
    "HostArgs",
    "ImageArgs",
    "Images",
    "ImagesArgs",
    "Ollama",
    "OllamaArgs",
    "Postgres",
    "PostgresArgs",
    "Redis",
    "RedisArgs",
    "Reflector",
    "ReflectorArgs",
    "Transcription",
    "TranscriptionArgs",
]
