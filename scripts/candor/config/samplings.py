"""The section `samplings`: how text is generated."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from candor.config.base import Section


class Sampling(Section):
    """How a subject continues a conversation. A prompt that ends with an assistant's turn is continued in that turn."""

    temperature: float = Field(1.0, ge=0, description="0 takes the likeliest token.")
    top_p: float = Field(1.0, gt=0, le=1, description="Least probability mass of the tokens that may be drawn.")
    top_k: NonNegativeInt = Field(0, description="Number of likeliest tokens that may be drawn; 0: all.")
    n: PositiveInt = Field(1, description="Samples per prompt.")
    max_new_tokens: PositiveInt = Field(1024, description="Longest generation; one that reaches it is truncated.")
    max_prompt_tokens: PositiveInt = Field(8192, description="Longest prompt; a longer one is refused as invalid.")
    stop: list[str] = Field([], description="Texts that end a generation; they are cut off.")
    prefill: str = Field(
        "",
        description="Start of the assistant's turn, given to the model; a turn that the prompt has begun has its own.",
    )
    reasoning: Literal["none", "native", "prompted"] = Field(
        "none",
        description=(
            "native: the model writes <think>reasoning</think>answer by itself; prompted: it is asked for its "
            "reasoning first, then for the answer; none: no reasoning is expected."
        ),
    )
    max_reasoning_tokens: PositiveInt = Field(
        1024, description="With reasoning: prompted, the longest reasoning; max_new_tokens then bounds the answer."
    )
    reasoning_prompt: str = Field(
        "Think about the request below before you answer it. Write only your thoughts, in one short sentence that "
        "starts with a verb, and do not answer yet.\n\nRequest: {prompt}",
        description="With reasoning: prompted, what is asked first; {prompt} is the last user turn.",
    )
    answer_prompt: str = Field(
        "{prompt}\n\nYour thoughts so far: {reasoning}\n\nAnswer in one short sentence.",
        description="With reasoning: prompted, what is asked next; {prompt} and {reasoning} are filled in.",
    )
    seed: int = Field(0, description="Seed; a draw depends on it, the example, the sample and the step alone.")
    batch_size: PositiveInt | Literal["auto"] = Field(
        "auto", description="Sequences that are decoded side by side; auto: 32 on a CPU, 128 elsewhere."
    )
    engine: Literal["transformers", "vllm"] = Field("transformers", description="What runs the model.")

    @model_validator(mode="after")
    def _prompts_have_their_fields(self) -> "Sampling":
        for key, fields in (("reasoning_prompt", ("{prompt}",)), ("answer_prompt", ("{prompt}", "{reasoning}"))):
            for field in fields:
                if field not in getattr(self, key):
                    raise ValueError(f"has a `{key}` without {field}")
        if self.reasoning == "prompted" and self.prefill:
            raise ValueError("has a `prefill`, which `reasoning: prompted` has no use for")
        return self
