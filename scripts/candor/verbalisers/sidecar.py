"""nla_meta.yaml, the file beside an activation verbaliser's or a reconstructor's weights that says how it is used.

Its format is that of the released checkpoints (schema version 2): `kind: nla_model`, `role` (av or ar; older ones say
actor and critic), `d_model`, `extraction_layer_index` (the block, counted from 0, whose output it was trained on: our
`hook: residual` at that layer), `extraction` (`injection_scale`, the length that a vector gets; `mse_scale`), `tokens`
(the token that gives way to the vector, its neighbours, and what a reconstructor's prompt ends with), and
`prompt_templates`.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from candor.errors import CandorError

NAME = "nla_meta.yaml"
INJECTED, EXPLAINED = "{injection_char}", "{explanation}"
"""Placeholders of the two prompts."""
ROLES = {"av": "verbaliser", "actor": "verbaliser", "ar": "reconstructor", "critic": "reconstructor"}


class SidecarError(CandorError):
    """A sidecar is missing or cannot be used; the message names the file and says why."""


class _Part(BaseModel):
    """A part of the sidecar; what candor has no use for is left unread."""

    model_config = ConfigDict(extra="ignore", strict=True, protected_namespaces=())


class _Extraction(_Part):
    injection_scale: PositiveFloat | None = None
    mse_scale: PositiveFloat | None = None


class _Tokens(_Part):
    injection_char: str = Field(min_length=1)
    injection_token_id: int = Field(ge=0)
    injection_left_neighbor_id: int = Field(ge=0)
    injection_right_neighbor_id: int = Field(ge=0)
    critic_suffix_ids: list[int] | None = None


class _Prompts(_Part):
    av: str | None = None
    actor: str | None = None
    ar: str | None = None
    critic: str | None = None


class Sidecar(_Part):
    """What a checkpoint says of itself."""

    kind: Literal["nla_model"]
    role: Literal["av", "actor", "ar", "critic"]
    d_model: PositiveInt
    extraction_layer_index: int = Field(ge=0)
    extraction: _Extraction
    tokens: _Tokens
    prompt_templates: _Prompts

    @property
    def prompt(self) -> str:
        """The prompt of the checkpoint's role, with its placeholder."""
        prompts = self.prompt_templates
        found = (prompts.av or prompts.actor) if ROLES[self.role] == "verbaliser" else (prompts.ar or prompts.critic)
        return found or ""

    @property
    def scale(self) -> float:
        """The length that a vector is given before it takes the token's place."""
        return self.extraction.injection_scale or 0.0


def read_sidecar(folder: Path, role: Literal["verbaliser", "reconstructor"]) -> Sidecar:
    """The sidecar of a checkpoint in a folder; SidecarError unless it is a whole one of that role."""
    import yaml

    path = folder / NAME
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SidecarError(
            f"{path}: no such file; a {role} is a checkpoint with its {NAME} beside its weights, such as the released "
            "ones of natural_language_autoencoders."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SidecarError(f"{path}: is no readable YAML ({' '.join(str(error).split())}).") from None
    try:
        sidecar = Sidecar.model_validate(found)
    except ValidationError as error:
        raise SidecarError(f"{path}: {_problem(error.errors()[0])}; take the file as it was released.") from None
    if complaint := _unfit(sidecar, role):
        raise SidecarError(f"{path}: {complaint}.")
    return sidecar


def _problem(problem: Any) -> str:
    """The first thing that is wrong with a sidecar."""
    key = ".".join(map(str, problem["loc"]))
    if not key:
        return "holds no keys"
    if problem["type"] == "missing":
        return f"has no {key}"
    return f"{key} is {problem['input']!r} ({problem['msg'][0].lower()}{problem['msg'][1:]})"


def _unfit(sidecar: Sidecar, role: str) -> str | None:
    """Why a sidecar that is whole cannot be used for a role; None where it can."""
    if ROLES[sidecar.role] != role:
        return f"is that of a {ROLES[sidecar.role]} (role: {sidecar.role}), and is named as the {role} in the config"
    placeholder = INJECTED if role == "verbaliser" else EXPLAINED
    if sidecar.prompt.count(placeholder) != 1:
        return f"has {sidecar.prompt.count(placeholder)} times {placeholder} in the {role}'s prompt, and not once"
    if role == "verbaliser" and sidecar.extraction.injection_scale is None:
        return "has no extraction.injection_scale, without which a verbaliser reads activations of a wrong length"
    if role == "reconstructor" and sidecar.extraction.mse_scale is None:
        return (
            "has no extraction.mse_scale, so that the reconstructor was not trained on directions, and the scores are "
            "of directions"
        )
    return None
