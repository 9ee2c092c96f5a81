"""The section `monitor`: what the live monitor shows, and what it runs on."""

from typing import Literal

from pydantic import Field, PositiveInt

from candor.config.base import Id, Section


class Watched(Section):
    """A probe that can be chosen in the monitor; its subject is that of its task's capture."""

    task: Id = Field(description="Task that the probe was trained on.")
    probe: Id | None = Field(None, description="One of the task's probes; null: the one that was selected.")
    verbaliser: Id | None = Field(None, description="Whose words stand beside the cases of Replay; null: none.")


class Quantisation(Section):
    """How the mlx engine rounds a subject's weights."""

    bits: Literal[2, 3, 4, 6, 8] = Field(4, description="Bits of a weight.")
    group_size: Literal[32, 64, 128] = Field(64, description="Weights that share a scale and an offset.")


class Replay(Section):
    """Which held-out cases the monitor shows."""

    per_class: PositiveInt = Field(4, description="Cases of each class, evenly from the probe's ranking of it.")
    max_tokens: PositiveInt = Field(400, description="Longest text that is shown, in tokens.")


class MonitorApp(Section):
    """The live monitor, `make monitor` and scripts/monitor.py."""

    probes: dict[Id, Watched] = Field({}, description="What can be chosen; without any, each task's selected probe.")
    default: Id | None = Field(None, description="The one of `probes` that is chosen at the start; null: the first.")
    subjects: list[Id] = Field(
        [], description="Models or adapters that can be chosen beside the probes' own subjects; their probes must fit."
    )
    engine: Literal["transformers", "mlx"] = Field(
        "transformers", description="What runs the subject: transformers (CPU, CUDA), or mlx with rounded weights."
    )
    quantisation: Quantisation = Field(Quantisation(), description="Of the mlx engine.")
    temperature: float = Field(0.7, ge=0, description="Of the answers; 0 takes the likeliest token.")
    top_p: float = Field(0.95, gt=0, le=1, description="Least probability mass of the tokens that may be drawn.")
    seed: int = Field(0, description="Seed of the answers: the same chat gets the same answer.")
    max_new_tokens: PositiveInt = Field(200, description="Longest answer.")
    replay: Replay = Field(Replay(), description="Which held-out cases are shown.")
    host: str = Field(
        "127.0.0.1", description="Address that the app listens on; any other than loopback lets others in."
    )
    port: PositiveInt | None = Field(None, le=65535, description="Port of the app; null: the first free one from 7860.")
