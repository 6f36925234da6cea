"""The speech service: transcription, diarization, translation, padding and mixdown."""

from dataclasses import dataclass, field
from typing import Final

import pulumi

from components.base.handles import DockerHost, Environment, Image, SpeechServices, TrustBundle
from components.base.service import HealthCheck, ServiceArgs, service
from components.base.trust import merged_environment, merged_files
from components.base.volume import volume
from rendering.environment import QUIET_MODELS

PORT: Final = 8000


@dataclass(frozen=True, kw_only=True)
class TranscriptionArgs:
    """The speech service on a Docker host."""

    host: DockerHost
    image: Image
    memory_mib: int
    trust: TrustBundle
    """It fetches audio by presigned URLs from behind our own edge."""
    hf_token: pulumi.Input[str] | None = field(default=None, repr=False)
    gpus: str = ""
    """`all`, `device=…`, or empty for CPU."""
    service: str = "transcription"
    """Its name in the stack, and its volume's."""

    def __post_init__(self) -> None:
        if self.hf_token is not None:
            object.__setattr__(self, "hf_token", pulumi.Output.secret(self.hf_token))


class Transcription(pulumi.ComponentResource):
    """Upstream's speech service, reachable inside the stack only.

    It has no API key there: upstream's translation client cannot send one, and a key would only break translation.
    """

    speech: SpeechServices
    """Where it is."""

    def __init__(self, name: str, args: TranscriptionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:transcription:Transcription", name, {}, opts)
        environment: Environment = {
            **merged_environment(args.trust),
            **QUIET_MODELS,
            **({"HF_TOKEN": args.hf_token} if args.hf_token is not None else {}),
        }
        server = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service=args.service,
                image=args.image.id,
                memory_mib=args.memory_mib,
                port=PORT,
                command=args.image.command,
                environment=environment,
                fetches=True,
                files=merged_files(args.trust),
                volumes={"/root/.cache": volume(f"{name}-models", args.host, args.service, self, optional=True)},
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
        self.speech = SpeechServices(url=server.url(PORT), ready=[server.ready], services=[server])
        self.register_outputs({})
