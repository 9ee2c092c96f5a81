"""The section `models`: networks under study, and where their weights come from."""

from typing import Annotated, Literal

from pydantic import Field

from candor.config.base import Section

Device = Literal["auto", "cpu", "cuda", "mps"]
Dtype = Literal["auto", "bfloat16", "float16", "float32"]


class _Model(Section):
    name: str = Field(description="The model's full name, as figures and cards print it.")
    blocks: int = Field(gt=0, description="Number of transformer blocks; fetch_model stops when the weights disagree.")
    width: int = Field(gt=0, description="Width of the residual stream; fetch_model stops when the weights disagree.")
    parameters: int = Field(gt=0, description="Number of parameters, each shared tensor counted once.")
    licence: str = Field("unknown", description="Licence of the weights.")
    chat_template: str | None = Field(
        None,
        description="A Jinja file in place of the tokenizer's own chat template; a relative path starts at the "
        "project's root. resources/chat_templates/reasoning.jinja keeps the reasoning of earlier turns.",
    )
    device: Device = Field("auto", description="Where it runs; auto takes CUDA, then Apple's GPU, then the CPU.")
    dtype: Dtype = Field(
        "auto", description="Number format it computes in; auto takes bfloat16 where the hardware is fast at it."
    )


class PackageModel(_Model):
    """Weights inside an installed Python package, as one GGUF file."""

    source: Literal["package"] = Field(description="Weights come with a Python package.")
    package: str = Field(description="Name of the installed distribution that ships the file.")
    file: str = Field(description="Name of the GGUF file inside the package.")


class HubModel(_Model):
    """Weights on the Hugging Face hub."""

    source: Literal["hub"] = Field(description="Weights come from the Hugging Face hub.")
    id: str = Field(description="Repository on the hub, owner/name.")
    revision: str | None = Field(
        None, description="Commit, tag or branch; without it the current commit is resolved once and recorded."
    )


class FolderModel(_Model):
    """Weights in a local folder, as save_pretrained writes them."""

    source: Literal["folder"] = Field(description="Weights lie in a local folder.")
    path: str = Field(description="The folder; a relative path starts at the project's root.")


Model = Annotated[PackageModel | HubModel | FolderModel, Field(discriminator="source")]
