"""The speech service: transcription, diarization, translation, padding and mixdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi

from components.handover import DockerHost, SpeechServices, TrustBundle
from components.service import HealthCheck, ServiceArgs, service, volume
from components.trust import PYTHON_ENVIRONMENT, trust_file

PORT: Final = 8000


@dataclass(frozen=True, kw_only=True)
class TranscriptionArgs:
    """The speech service on a Docker host."""

    host: DockerHost
    image: pulumi.Input[str]
    command: Sequence[str]
    """Arguments the image needs to play this part; empty for upstream's."""
    trust: TrustBundle
    """It fetches audio by presigned URLs from behind our own edge."""
    hf_token: pulumi.Input[str] | None = field(default=None, repr=False)
    gpus: str = ""
    """`all`, `device=…`, or empty for CPU."""

    def __post_init__(self) -> None:
        if self.hf_token is not None:
            object.__setattr__(self, "hf_token", pulumi.Output.secret(self.hf_token))


class Transcription(pulumi.ComponentResource):
    """Upstream's speech service, reachable inside the stack only.

    It has no API key there: upstream's translation client cannot send one, and a key would only break translation.
    """

    services: SpeechServices
    """Where it is."""

    def __init__(self, name: str, args: TranscriptionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:transcription:Transcription", name, {}, opts)
        environment: Mapping[str, pulumi.Input[str]] = {
            **PYTHON_ENVIRONMENT,
            **({"HF_TOKEN": args.hf_token} if args.hf_token is not None else {}),
        }
        container = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service="transcription",
                image=args.image,
                port=PORT,
                command=list(args.command),
                environment=environment,
                files=[trust_file(args.trust)],
                volumes={"/root/.cache": volume(f"{name}-models", args.host, "transcription", self)},
                networks={"application": ()},
                # Upstream loads several GB of models before it answers for the first time.
                health=HealthCheck(
                    test=("CMD", "curl", "-fsS", "-m", "5", "-o", "/dev/null", f"http://127.0.0.1:{PORT}/docs"),
                    timeout_seconds=6,
                    start_period_seconds=900,
                ),
                # The entrypoint merges the trust bundle into the system store.
                read_only=False,
                gpus=args.gpus,
            ),
            self,
        )
        self.services = SpeechServices(
            url=f"http://transcription:{PORT}", api_key=None, whisper_model="", hf_token=None, ready=[container]
        )
        self.register_outputs({})
