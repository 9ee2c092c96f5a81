"""A small tokenizer and small random models, made in memory, so that no test needs the network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from candor.models import Subject

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "Is the reactor safe to open, or should we wait for the pressure to fall below 12 bar?",
    "You are a helpful assistant. Answer briefly, and say so when you do not know.",
    "Naïve café, größer als 3,14: a user asks the assistant about the system.",
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen2": ("Qwen2", {"use_sliding_window": False}),
    "gemma2": ("Gemma2", {"head_dim": 8, "sliding_window": 8}),
    "gemma3": ("Gemma3", {"head_dim": 8, "sliding_window": 8}),
}
BLOCKS, WIDTH = 4, 32


def small_tokenizer() -> "PreTrainedTokenizerFast":
    """A byte-level tokenizer of 400 entries with a chat template; its padding token is its end token."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    special = ["<|im_start|>", "<|im_end|>"]
    trained.train_from_iterator(SENTENCES, vocab_size=400, special_tokens=special, show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=CHATML,
    )


def small_subject(tokenizer: "PreTrainedTokenizerFast", family: str = "llama", dtype: str = "float32") -> "Subject":
    """A random model of BLOCKS blocks of a family of SHAPES, the same each time, with a tokenizer."""
    import torch
    import transformers

    from candor.models import Subject

    torch.set_num_threads(1)
    name, own = SHAPES[family]
    text = "Text" if family == "gemma3" else ""
    config = getattr(transformers, f"{name}{text}Config")(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **own,
    )
    torch.manual_seed(0)
    model: PreTrainedModel = getattr(transformers, f"{name}ForCausalLM")(config)
    return Subject(model.to(getattr(torch, dtype)).eval(), tokenizer)


def small_folder(folder: Path) -> Path:
    """A folder with the small Llama, as save_pretrained writes it."""
    subject = small_subject(small_tokenizer())
    subject.model.save_pretrained(folder)
    subject.tokenizer.save_pretrained(folder)
    return folder
