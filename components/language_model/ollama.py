"""Ollama with one model."""

from dataclasses import dataclass
from typing import Final

import pulumi

from components.base.handles import NOBODY, DockerHost, Image, LanguageModel, TrustBundle
from components.base.service import HealthCheck, ServiceArgs, service
from components.base.step import StepArgs, step
from components.base.trust import go_environment, one_file
from components.base.volume import volume
from rendering.reference import is_model_name

PORT: Final = 11434
MODELS_DIRECTORY: Final = "/root/.ollama"

# Says no name: what a step prints is on the console and in the state, and an ordinary setting may be a secret.
_MAKE_SURE_OF_MODEL: Final = """\
set -eu
if ollama list | awk 'NR > 1 { print $1 }' | grep -qxF -e "$MODEL" -e "$MODEL:latest"; then
    echo "the model is there"
elif [ -f "/opt/models/$MODEL/Modelfile" ]; then
    echo "creating the model from the image"
    ollama create "$MODEL" -f "/opt/models/$MODEL/Modelfile"
else
    echo "pulling the model"
    ollama pull "$MODEL"
fi
ollama show "$MODEL" > /dev/null
"""


@dataclass(frozen=True, kw_only=True)
class OllamaArgs:
    """An Ollama server and the model it must have."""

    host: DockerHost
    image: Image
    memory_mib: int
    model: str
    context_tokens: int
    """Ollama's own default, 4096, would cut transcripts off without a word."""
    trust: TrustBundle = NOBODY
    """Whom it trusts where models come from, as a proxy may stand before that."""
    gpus: str = ""
    """`all`, `device=…`, or empty for CPU."""
    service: str = "ollama"
    """Its name in the stack, and its volume's."""

    def __post_init__(self) -> None:
        if not is_model_name(self.model):
            raise ValueError(f"model {self.model!r} is not a model name")


class Ollama(pulumi.ComponentResource):
    """An Ollama server with its model present.

    The model is pulled, or created where the image ships it under /opt/models. Does not: publish a port.
    """

    language_model: LanguageModel
    """The endpoint, ready once the model is there."""

    def __init__(self, name: str, args: OllamaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:ollama:Ollama", name, {}, opts)
        server = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service=args.service,
                image=args.image.id,
                memory_mib=args.memory_mib,
                port=PORT,
                environment={
                    "OLLAMA_HOST": f"0.0.0.0:{PORT}",
                    "OLLAMA_KEEP_ALIVE": "24h",
                    "OLLAMA_CONTEXT_LENGTH": str(args.context_tokens),
                    # A model whose name ends in cloud would be asked at ollama.com, through this very server.
                    "OLLAMA_NO_CLOUD": "1",
                    **go_environment(args.trust),
                },
                files=one_file(args.trust),
                # Nothing can be put onto a root that is read-only, before it starts.
                read_only=not args.trust.certificates,
                fetches=True,
                volumes={MODELS_DIRECTORY: volume(f"{name}-models", args.host, args.service, self, optional=True)},
                tmpfs={"/tmp": "rw,exec,nosuid,size=1g"},
                # As in the official image: root owns the volume there, and keeps no capability.
                user="0:0",
                networks={"application": ()},
                # Its own client: the image has neither curl nor wget.
                health=HealthCheck(test=("CMD", "ollama", "list")),
                gpus=args.gpus,
            ),
            self,
        )
        ready = step(
            f"{name}-model",
            StepArgs(
                service=server,
                script=_MAKE_SURE_OF_MODEL,
                environment={"MODEL": args.model},
                show_progress=True,
            ),
            self,
        )
        self.language_model = LanguageModel(
            url=f"{server.url(PORT)}/v1",
            model=args.model,
            # Ollama takes any; the client insists on one.
            api_key="not-needed",
            context_tokens=args.context_tokens,
            ready=[ready],
            services=[server],
        )
        self.register_outputs({})
