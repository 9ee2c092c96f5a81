"""The section `clients`: where requests of judges go, each provider a module in scripts/candor/chat/providers/."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from candor.config.base import Id, Section

TRACKED = ("provider", "service", "model", "extra_body", "structured", "subject", "batch_size")
"""Keys that change what a reply is; the others (concurrency, price, address, ...) may change without a rebuild."""
CREDENTIAL = re.compile(
    r"^(x[-_]?)?(key|token|auth)$|api[-_]?key|secret|passw|credential|authorization|bearer"
    r"|(access|auth|api|session|private)[-_]?(token|key)",
    re.IGNORECASE,
)
SECRET = re.compile(r"^(sk-|sk_|Bearer\s)")
OWN_KEYS = frozenset(
    "model messages system prompt max_tokens max_completion_tokens temperature top_p seed stop stop_sequences "
    "response_format output_format tools tool_choice functions function_call stream stream_options".split()
)
"""Keys of a request that candor fills in itself."""
COSTLY_KEYS = frozenset(["n", "best_of", "cache_control", "web_search_options", "mcp_servers"])
"""Keys that make a request dearer than its tokens at the client's price."""


class Price(Section):
    """What tokens cost, in US dollars per million."""

    input: float = Field(ge=0, description="US dollars per million tokens of requests.")
    output: float = Field(ge=0, description="US dollars per million tokens of replies.")
    batch: float = Field(0.5, ge=0, le=1, description="Share of the price that batch mode costs.")


class _Remote(Section):
    model: str = Field(min_length=1, description="The model, by the name that the service gives it.")
    service: str | None = Field(
        None,
        description="Names what serves the model and is part of a reply's identity; default: base_url, or the "
        "provider. With a name of its own, the address may change and the replies are found again.",
    )
    base_url: str | None = Field(None, description="Address of a compatible server; default: the provider's own.")
    key_variable: str | None = Field(description="Environment variable with the key; null for a server without keys.")
    mode: Literal["live", "batch"] = Field(
        "live", description="batch: the provider's batch endpoint, which is cheaper and takes up to a day."
    )
    concurrency: PositiveInt = Field(16, description="Requests that a job has under way at once.")
    requests_per_minute: PositiveFloat | None = Field(
        None, description="Limit on requests, shared out over the jobs that may run at once."
    )
    tokens_per_minute: PositiveFloat | None = Field(
        None, description="Limit on tokens in and out, shared out over the jobs that may run at once."
    )
    timeout_s: PositiveFloat = Field(120, description="Seconds after which a request is given up and sent again.")
    retries: NonNegativeInt = Field(6, description="Times that a request is sent again when it has come to nothing.")
    extra_body: dict[str, Any] = Field({}, description="Keys to be sent with each request; part of its identity.")
    price: Price = Field(description="What tokens cost; zeros for a server of one's own.")

    @field_validator("key_variable")
    @classmethod
    def _names_a_variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):  # it may be a key: not to be repeated
            raise ValueError("is not the name of an environment variable, such as OPENAI_API_KEY; keys never go here")
        return name

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://default")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("holds credentials or a query; put the key into the environment (key_variable)")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is not an http or https address")
        return url.rstrip("/") if url else None

    @field_validator("extra_body")
    @classmethod
    def _holds_no_credentials(cls, body: dict[str, Any]) -> dict[str, Any]:
        for key, value in _pairs(body):
            if CREDENTIAL.search(key) or (isinstance(value, str) and SECRET.match(value)):
                raise ValueError(f"has {key!r}, which looks like a credential; put it into the environment")
        for key in body:
            if key in OWN_KEYS:
                raise ValueError(f"has {key!r}, which candor sends by itself; take it out")
            if key in COSTLY_KEYS:
                raise ValueError(f"has {key!r}, which costs more than the price says; take it out")
        return body

    @model_validator(mode="after")
    def _service_has_a_name(self) -> "_Remote":
        self.service = self.service or self.base_url or getattr(self, "provider", None)
        return self


class Anthropic(_Remote):
    """A model behind Anthropic's Messages API."""

    provider: Literal["anthropic"] = Field(description="Anthropic's Messages API, by its own SDK.")
    key_variable: str | None = Field(
        "ANTHROPIC_API_KEY", description="Environment variable with the key; null for a server without keys."
    )
    structured: Literal["json_schema", "tool", "none"] = Field(
        "json_schema",
        description="How a reply is held to its contract: json_schema: output_config; tool: a tool that must be used, "
        "for older models; none: the prompt alone.",
    )


class OpenAI(_Remote):
    """A model behind OpenAI's Chat Completions API, or any server that speaks it."""

    provider: Literal["openai"] = Field(description="OpenAI's Chat Completions API, by its own SDK.")
    key_variable: str | None = Field(
        "OPENAI_API_KEY", description="Environment variable with the key; null for a server without keys."
    )
    structured: Literal["json_schema", "json_object", "none"] = Field(
        "json_schema",
        description="How a reply is held to its contract: json_schema: strictly; json_object: some JSON, the prompt "
        "says which; none: the prompt alone.",
    )
    prefill: bool = Field(
        False,
        description="The server goes on with a last assistant's turn, as OpenRouter and llama.cpp do, vLLM and SGLang "
        "with extra_body {add_generation_prompt: false, continue_final_message: true}; OpenAI's own does not.",
    )
    length_key: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        None,
        description="Key that bounds a reply's length; default: max_completion_tokens at OpenAI, max_tokens elsewhere.",
    )


class Local(Section):
    """A subject of this study, run by this machine through the generation engine."""

    provider: Literal["local"] = Field(description="A subject of this study, on this machine.")
    subject: Id = Field(description="Id of a model, adapter or ablation.")
    batch_size: PositiveInt | Literal["auto"] = Field(
        "auto", description="Sequences that are decoded side by side; auto: 32 on a CPU, 128 elsewhere."
    )


RemoteClient = Anthropic | OpenAI
ClientConfig = Annotated[Anthropic | OpenAI | Local, Field(discriminator="provider")]


def tracked(config: Anthropic | OpenAI | Local) -> dict[str, Any]:
    """What of a client changes its replies: the part that enters provenance and the identities of requests."""
    return {key: value for key, value in config.model_dump(mode="json").items() if key in TRACKED}


def takes_prefill(config: Anthropic | OpenAI | Local) -> bool:
    """Whether a request to this client may end with the beginning of its reply."""
    return not isinstance(config, OpenAI) or config.prefill


def takes_both(config: Anthropic | OpenAI | Local) -> bool:
    """Whether a request to this client may have a prefill and a schema: only where the schema is not sent."""
    return isinstance(config, Local) or config.structured == "none"


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Keys and values at any depth; an item of a list goes by the list's key."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key), each
            for inner in each if isinstance(each, list) else [each]:
                yield from _pairs(inner) if isinstance(inner, dict) else [(str(key), inner)]
