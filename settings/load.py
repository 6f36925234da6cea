"""From raw configuration values to `Settings`, collecting every problem on the way."""

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import pulumi
import yaml
from pulumi.runtime import config as runtime_config

from settings import values
from settings.images import ImageSources, built_images, upstream_images
from settings.model import (
    Authentication,
    Edge,
    Host,
    LanguageModelMode,
    LanguageModelSettings,
    Settings,
    Speech,
    SpeechMode,
    Storage,
    StorageMode,
)
from settings.problems import Problem, SettingsError
from settings.schema import Schema, Value, schema

T = TypeVar("T")

MEMORY_MIB: Final[Mapping[str, int]] = {
    # What each service needs to start and work under light load, with room; upstream sets no limits at all.
    "postgres": 1024,
    "redis": 256,
    "garage": 1024,
    "hatchet": 1024,
    "server": 2048,
    "worker": 4096,
    "beat": 512,
    "hatchet-worker-llm": 4096,
    "web": 1024,
    "transcription": 8192,
    "ollama": 16384,
    "caddy": 512,
}
MEMORY_FLOOR_MIB: Final = 64  # below this the services are killed while they start

ONLY_WITH: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    # Key → selecting key and its values. Given with another value, two modes were asked for at once.
    "transcription_url": ("transcription", frozenset({"hosted"})),
    "transcription_api_key": ("transcription", frozenset({"hosted"})),
    "transcription_gpus": ("transcription", frozenset({"container"})),
    "whisper_model": ("transcription", frozenset({"in-process"})),
    "llm_url": ("llm", frozenset({"external"})),
    "llm_api_key": ("llm", frozenset({"external"})),
    "ollama_gpus": ("llm", frozenset({"ollama"})),
    "garage_capacity_gib": ("storage", frozenset({"garage"})),
    "s3_domain": ("storage", frozenset({"garage"})),
    "s3_region": ("storage", frozenset({"s3", "external"})),
    "s3_endpoint": ("storage", frozenset({"external"})),
    "s3_access_key_id": ("storage", frozenset({"external"})),
    "s3_secret_access_key": ("storage", frozenset({"external"})),
    "docker_certificates": ("docker_host", frozenset()),
}


def load() -> Settings:
    """Return the settings of the stack the engine is running.

    Raises: SettingsError listing every problem.
    """
    declared = schema()
    prefix = f"{declared.project}:"
    config = pulumi.Config(declared.project)
    # The SDK has no public way to list keys: the first is what tests set, the second what the engine hands over.
    everything = runtime_config.get_config_env() | runtime_config.CONFIG.get()
    raw = {key.removeprefix(prefix): value for key, value in everything.items() if key.startswith(prefix)}
    encrypted = runtime_config.get_config_secret_keys_env() or runtime_config._SECRET_KEYS.get()
    return parse(
        raw,
        pulumi.get_stack(),
        secret=config.get_secret,
        encrypted=frozenset(key.removeprefix(prefix) for key in encrypted),
    )


def read_stack_file(path: Path) -> dict[str, object]:
    """Return the project's keys of a stack file, as YAML has them; an encrypted value stays `{"secure": …}`.

    Raises: SettingsError with one problem if it is not a stack file.
    """
    prefix = f"{schema().project}:"
    try:
        # From the file, not from its text: errors about a text quote it, and there may be a secret in it.
        with path.open(encoding="utf-8") as file:
            content = _mapping("the file", yaml.safe_load(file))
        config = _mapping("config", content.get("config"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(
            [
                Problem(
                    setting=path.name,
                    given=" ".join(str(error).split()),
                    allowed="YAML with the settings in a mapping `config`",
                    remedy="Correct the file",
                )
            ]
        ) from None
    return {
        key.removeprefix(prefix): value
        for key, value in config.items()
        if isinstance(key, str) and key.startswith(prefix)
    }


def _mapping(name: str, content: object) -> dict[object, object]:
    """Return `content` if it is a mapping; nothing at all is an empty one."""
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{name} is no mapping")
    return content


def parse(
    raw: Mapping[str, object],
    stack: str,
    *,
    secret: Callable[[str], pulumi.Output[str] | None] = lambda _: None,
    encrypted: frozenset[str] = frozenset(),
) -> Settings:
    """Return the settings that the raw values of `stack` mean.

    Shape: `raw` maps a key without its project prefix to text, as the engine hands it over, or to a YAML value.
    `secret` returns a secret key's value as a secret output; without it secrets are only checked for presence.
    `encrypted` names the keys the engine has decrypted; in a stack file's own form, `{"secure": …}`, it shows.
    Raises: SettingsError listing every problem.
    """
    reader = _Reader(raw, schema(), encrypted)
    settings = reader.settings(stack, secret)
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


class _Reader:
    """Reads key by key and remembers what is wrong instead of stopping at the first."""

    def __init__(self, raw: Mapping[str, object], declared: Schema, encrypted: frozenset[str]) -> None:
        self.problems: list[Problem] = []
        self._schema = declared
        self._encrypted = encrypted
        self._values: dict[str, Value] = {name: key.default for name, key in declared.keys.items()}
        self._given: set[str] = set()
        for name, value in raw.items():
            self._take(name, value)

    def _take(self, name: str, value: object) -> None:
        key = self._schema.keys.get(name)
        if key is None:
            close = difflib.get_close_matches(name, self._schema.keys, n=1)
            self._problem(
                name,
                "unknown setting",
                f"did you mean {close[0]}?" if close else "the settings of docs/configuration.md",
                f"Remove it: pulumi config rm {self._schema.project}:{name}",
            )
            return
        if key.secret:
            # Never converted or shown: only whether there is one matters here, and that it is encrypted.
            if value != "":
                self._given.add(name)
                if not (name in self._encrypted or (isinstance(value, dict) and value.keys() == {"secure"})):
                    self._problem(
                        name,
                        "a value in clear text",
                        "an encrypted value",
                        f"Set it: pulumi config set --secret {name}",
                    )
            return
        try:
            converted = key.convert(value)
        except ValueError:
            self._problem(name, f"{value!r}", key.article, f"Set it: pulumi config set {name} <{key.type}>")
            return
        self._values[name] = converted
        # The engine fills in defaults by itself, so a default is no sign that somebody set it.
        if converted != key.default:
            self._given.add(name)

    def _problem(self, setting: str, given: str, allowed: str, remedy: str) -> None:
        self.problems.append(Problem(setting=setting, given=given, allowed=allowed, remedy=remedy))

    def _checked(self, path: str, value: object, check: Callable[[], T], fallback: T) -> T:
        try:
            return check()
        except ValueError as error:
            self._problem(path, f"{value!r}", str(error), f"Set it: pulumi config set --path {path} <value>")
            return fallback

    def _text(self, name: str) -> str:
        return str(self._values[name])

    def _number(self, name: str) -> int:
        value = self._values[name]
        assert isinstance(value, int)
        return value

    def _checked_text(self, name: str, check: Callable[[str], str], *, optional: bool = False) -> str:
        text = self._text(name)
        if optional and not text:
            return text
        return self._checked(name, text, lambda: check(text), text)

    def _choice(self, name: str, allowed: tuple[str, ...]) -> str:
        return self._checked_text(name, lambda text: values.one_of(allowed, text))

    def _texts(self, name: str) -> list[str]:
        items = self._values[name]
        assert isinstance(items, list)
        return [str(item) for item in items]

    def _table(self, name: str) -> dict[str, object]:
        table = self._values[name]
        assert isinstance(table, dict)
        return table

    def settings(self, stack: str, secret: Callable[[str], pulumi.Output[str] | None]) -> Settings:
        """Return the settings; they are only whole while `problems` is empty."""
        speech_mode = self._choice("transcription", tuple(mode.value for mode in SpeechMode))
        llm_mode = self._choice("llm", tuple(mode.value for mode in LanguageModelMode))
        storage_mode = self._choice("storage", tuple(mode.value for mode in StorageMode))
        images = self._images({"transcription": speech_mode, "llm": llm_mode, "storage": storage_mode})
        host = self._host()
        for name, (selector, modes) in ONLY_WITH.items():
            selected = self._text(selector)
            if modes and name in self._given and selected not in modes:
                self._problem(
                    name,
                    f"set while {selector} is {selected!r}: two modes at once",
                    f"only with {selector}: {' or '.join(sorted(modes))}",
                    f"Choose one: pulumi config set {selector} {min(modes)}, or pulumi config rm {name}",
                )
        edge = self._edge(storage_mode)
        for name, selector, mode in (
            ("transcription_url", "transcription", "hosted"),
            ("llm_url", "llm", "external"),
            ("s3_region", "storage", "s3"),
            ("s3_region", "storage", "external"),
            ("s3_access_key_id", "storage", "external"),
            ("s3_secret_access_key", "storage", "external"),
        ):
            if self._text(selector) == mode and name not in self._given:
                flag = " --secret" if self._schema.keys[name].secret else ""
                self._problem(
                    name,
                    "nothing",
                    f"a value: {selector} is {mode!r}",
                    f"Set it: pulumi config set{flag} {name} <value>",
                )

        def secret_if_given(name: str) -> pulumi.Output[str] | None:
            return secret(name) if name in self._given else None

        return Settings(
            project=self._schema.project,
            stack=stack,
            host=host,
            images=images,
            edge=edge,
            authentication=Authentication(
                password=self._choice("authentication", ("password", "none")) == "password",
                admin_email=self._checked_text("admin_email", values.email, optional=True) or f"admin@{edge.domain}",
            ),
            speech=Speech(
                mode=_member(SpeechMode, speech_mode, SpeechMode.IN_PROCESS),
                url=self._checked_text("transcription_url", values.http_url, optional=True),
                api_key=secret_if_given("transcription_api_key"),
                gpus=self._checked_text("transcription_gpus", values.gpus, optional=True),
                whisper_model=self._checked_text("whisper_model", values.model_name),
                hf_token=secret_if_given("hf_token"),
            ),
            language_model=LanguageModelSettings(
                mode=_member(LanguageModelMode, llm_mode, LanguageModelMode.NONE),
                model=self._checked_text("llm_model", values.model_name),
                url=self._checked_text("llm_url", values.http_url, optional=True),
                api_key=secret_if_given("llm_api_key"),
                context_tokens=self._at_least("llm_context_tokens", 1024, "tokens"),
                gpus=self._checked_text("ollama_gpus", values.gpus, optional=True),
            ),
            storage=Storage(
                mode=_member(StorageMode, storage_mode, StorageMode.GARAGE),
                bucket=self._checked_text("storage_bucket", values.bucket),
                garage_capacity_gib=self._at_least("garage_capacity_gib", 1, "GiB"),
                region=self._text("s3_region"),
                endpoint=self._checked_text("s3_endpoint", values.http_url, optional=True),
                access_key_id=self._text("s3_access_key_id"),
                secret_access_key=secret_if_given("s3_secret_access_key"),
            ),
            health_interval_seconds=self._at_least("health_interval_seconds", 1, "seconds"),
            startup_limit_seconds=self._at_least("startup_limit_seconds", 10, "seconds"),
            memory_mib=self._memory(),
        )

    def _at_least(self, name: str, least: int, unit: str) -> int:
        number = self._number(name)
        return self._checked(name, number, lambda: values.at_least(least, unit, number), number)

    def _host(self) -> Host:
        address = self._checked_text("docker_host", values.docker_host)
        certificates = self._text("docker_certificates")
        pem = {"ca.pem": "", "cert.pem": "", "key.pem": ""}
        if address.startswith("tcp://") and not certificates:
            # The provider would skip verification altogether without them, and a bare tcp:// daemon is root for anyone.
            self._problem(
                "docker_certificates",
                "nothing",
                f"a folder with {', '.join(pem)}: docker_host is tcp://",
                "Set it: pulumi config set docker_certificates <folder>",
            )
        elif certificates and not address.startswith("tcp://"):
            self._problem(
                "docker_certificates",
                f"{certificates!r} while docker_host is {address!r}: two modes at once",
                "only with a tcp:// docker_host",
                "Remove it: pulumi config rm docker_certificates",
            )
        elif certificates:
            for name in pem:
                file = Path(certificates) / name
                try:
                    pem[name] = file.read_text(encoding="ascii")
                except (OSError, UnicodeDecodeError) as error:
                    self._problem(
                        "docker_certificates",
                        f"{file}: {error}",
                        f"a folder with {', '.join(pem)} in PEM form",
                        "Put the file there, or set another folder",
                    )
        return Host(
            address=address,
            certificates=certificates,
            ca_pem=pem["ca.pem"],
            cert_pem=pem["cert.pem"],
            key_pem=pem["key.pem"],
            minimum_free_disk_gib=self._at_least("minimum_free_disk_gib", 1, "GiB"),
        )

    def _edge(self, storage_mode: str) -> Edge:
        # Both become names of the edge inside the stack too, beside those of the services.
        domain = self._checked_text("domain", partial(values.public_name, MEMORY_MIB))
        s3_domain = ""
        if storage_mode == StorageMode.GARAGE.value:
            # To a container localhost is itself. As the domain that does no harm: Reflector never calls itself by it.
            taken = ("localhost", *MEMORY_MIB)
            s3_domain = (
                self._checked_text("s3_domain", partial(values.public_name, taken), optional=True) or f"s3.{domain}"
            )
            if s3_domain == domain:
                self._problem(
                    "s3_domain",
                    f"{s3_domain!r}",
                    "a host name other than the domain: a signed URL fixes its whole path",
                    "Set it: pulumi config set s3_domain <host name>",
                )
        dns_names = [domain, *([s3_domain] if s3_domain else []), "localhost"]
        ip_addresses = ["127.0.0.1", "::1"]
        for index, text in enumerate(self._texts("extra_names")):
            path = f"extra_names[{index}]"
            kind, value = self._checked(path, text, partial(values.subject_alternative_name, text), ("", ""))
            if kind == "DNS":
                dns_names.append(value)
            elif kind == "IP":
                ip_addresses.append(value)
        https_port, http_port = self._port("https_port"), self._port("http_port")
        if https_port == http_port:
            self._problem(
                "http_port",
                f"{http_port}, as https_port",
                "two different ports",
                "Set it: pulumi config set http_port <port>",
            )
        return Edge(
            domain=domain,
            s3_domain=s3_domain,
            dns_names=tuple(dict.fromkeys(dns_names)),
            ip_addresses=tuple(dict.fromkeys(ip_addresses)),
            bind_addresses=self._bind_addresses(),
            https_port=https_port,
            http_port=http_port,
        )

    def _bind_addresses(self) -> tuple[str, ...]:
        texts = self._texts("bind_addresses")
        if not texts:
            self._problem(
                "bind_addresses",
                "an empty list",
                "one address or more",
                'Set it: pulumi config set --path "bind_addresses[0]" 0.0.0.0',
            )
        # In normal form: they are compared with each other, and in the preflight with what Docker lists.
        addresses = [
            self._checked(f"bind_addresses[{index}]", text, partial(values.ip_address, text), "")
            for index, text in enumerate(texts)
        ]
        for index, address in enumerate(addresses):
            wildcard = "::" if ":" in address else "0.0.0.0"
            if address not in {"", wildcard} and wildcard in addresses:
                self._problem(
                    f"bind_addresses[{index}]",
                    f"{texts[index]!r}, besides {wildcard}",
                    f"{wildcard} without others of its kind: it is all of them",
                    f'Remove it: pulumi config rm --path "bind_addresses[{index}]"',
                )
        return tuple(dict.fromkeys(addresses))

    def _port(self, name: str) -> int:
        number = self._number(name)
        return self._checked(name, number, lambda: values.port(number), number)

    def _images(self, modes: Mapping[str, str]) -> ImageSources:
        needed = {"backend", "frontend", "postgres", "redis", "hatchet", "caddy"}
        if modes["transcription"] == SpeechMode.CONTAINER.value:
            needed.add("transcription")
        if modes["llm"] == LanguageModelMode.OLLAMA.value:
            needed.add("ollama")
        if modes["storage"] == StorageMode.GARAGE.value:
            needed.add("garage")
        references = self._table("image_references")
        if self._choice("images", ("upstream", "built")) == "built":
            if references:
                self._problem(
                    "image_references",
                    "set while images is 'built': two modes at once",
                    "only with images: upstream",
                    "Remove it: pulumi config rm image_references",
                )
            sources, problems = built_images(self._schema.project, frozenset(needed))
        else:
            sources, problems = upstream_images(references, frozenset(needed))
        self.problems += problems
        return sources

    def _memory(self) -> dict[str, int]:
        limits = dict(MEMORY_MIB)
        for service, value in self._table("memory_mib").items():
            path = f"memory_mib.{service}"
            if service not in limits:
                self._problem(path, "unknown service", ", ".join(limits), f"Remove it: pulumi config rm --path {path}")
                continue
            try:
                limits[service] = values.at_least(MEMORY_FLOOR_MIB, "MiB", int(str(value)))
            except ValueError:
                self._problem(
                    path,
                    f"{value!r}",
                    f"a whole number of MiB, {MEMORY_FLOOR_MIB} or more",
                    f"Set it: pulumi config set --path {path} <MiB>",
                )
        return limits


E = TypeVar("E", SpeechMode, LanguageModelMode, StorageMode)


def _member(kind: type[E], value: str, fallback: E) -> E:
    """Return the member with `value`; a wrong value was reported already and its fallback is never used."""
    return next((member for member in kind if member.value == value), fallback)
