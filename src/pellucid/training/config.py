"""Everything a fit needs to know; saved with its result."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from pellucid.core.config import Config
from pellucid.data import TextConfig
from pellucid.data.store import StoreConfig
from pellucid.dictionaries import ARCHITECTURES, AnyArchitecture, TopKConfig
from pellucid.dictionaries.registry import transcoding
from pellucid.kernels.forms import FORMS, PLAIN
from pellucid.training.objectives import AnyObjective, Local
from pellucid.training.spikes import SpikeConfig

CHANGEABLE = ("keep_checkpoints", "memory_limit_mb", "logits_mb")
"""Settings of a fit that may be others when it is resumed."""


class DictionaryConfig(Config):
    """One dictionary of a fit."""

    site: str
    """Where it reads and writes: a common name like layers.8, or a module path."""
    target: str | None = None
    """Where it writes if that is another site (a transcoder): its value is what is reconstructed and, end to end, replaced."""
    architecture: AnyArchitecture = TopKConfig()
    """Encoder and decoder: kind and its settings."""
    objective: AnyObjective = Local()
    """What training minimises: local, e2e or e2e+ds, and its settings."""
    lr: float = Field(5e-4, gt=0)
    """Peak learning rate of Adam."""
    seed: int = 0
    """Seed of the starting weights."""
    init_from: str | None = None
    """Folder of a dictionary to start from (RUN/dictionaries/NAME); its tokens count as this one's warm start."""

    @property
    def guided(self) -> bool:
        """True if the architecture selects by the gradient of the host's loss."""
        return ARCHITECTURES[self.architecture.model_dump()["kind"]].guided

    @property
    def starts_runs(self) -> bool:
        """True if training runs the host on from the site: for the objective, or for the gradient of the loss."""
        return self.objective.splices or self.guided

    @model_validator(mode="after")
    def _writable(self) -> DictionaryConfig:
        kind = self.architecture.model_dump()["kind"]
        if self.target not in (None, self.site) and not ARCHITECTURES[kind].transcodes:
            raise ValueError(f"target is '{self.target}', but {kind} writes the site it reads, '{self.site}'. {transcoding()}")
        if self.target in (None, self.site) and kind == "skip_transcoder":
            raise ValueError(
                "a skip_transcoder reconstructs another site than it reads (of its own its linear path alone would be a "
                "copy): set target, for instance site layers.14.mlp.input and target layers.14.mlp"
            )
        if self.objective.splices and not ARCHITECTURES[kind].by_gradient:
            raise ValueError(f"{kind} is fitted without gradients, to activations alone: use objective 'local'")
        return self


class EvaluationConfig(Config):
    """How much is measured after training."""

    rows: int = Field(160, ge=1)
    """Held-out rows used, at most."""
    batch_rows: int = Field(8, ge=1)
    """Rows in one pass."""
    features: int = Field(12, ge=0)
    """Features of each dictionary shown in the report; 0 for none."""


class FitConfig(Config):
    """A fit: one pass of text over a host, any number of dictionaries."""

    host: str = "smollm2"
    """Language model: a name of the catalogue, a folder or a hub name. Not used when Python passes a Host."""
    data: TextConfig = TextConfig()
    """Text. Not used when Python passes a data source."""
    dictionaries: dict[str, DictionaryConfig]
    """Dictionaries by name; all are trained in the same pass."""
    tokens: int = Field(1_000_000, ge=1)
    """Positions of the host seen in training (rows times context, masked ones included)."""
    batch_rows: int = Field(8, ge=1)
    """Rows (contexts) in one update."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the updates over which the learning rate rises from 0."""
    sparsity_warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the updates over which sparsity penalties rise from 0 to their full weight."""
    final_lr: float = Field(0.1, ge=0, le=1)
    """Learning rate at the end, as a share of its peak (cosine)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates."""
    clip: float = Field(10.0, gt=0)
    """Largest norm of a dictionary's gradient; longer ones are scaled down."""
    dead_after: int = Field(200_000, ge=1)
    """A latent silent for this many tokens counts as dead (auxiliary terms train it)."""
    sample_rows: int = Field(16, ge=1)
    """Rows whose activations set the starting biases."""
    checkpoint_seconds: float = Field(120.0, ge=0)
    """Time between checkpoints; 0 writes one after every update."""
    keep_checkpoints: int = Field(2, ge=1)
    """Newest checkpoints that stay: with 2, one whose bytes went bad costs the time since the one before. Each takes three
    times the dictionaries' weights. May be changed when a fit is resumed."""
    log_every: int = Field(10, ge=1)
    """Updates between lines of metrics.jsonl."""
    spikes: SpikeConfig = SpikeConfig()
    """What happens to an update whose numbers are not finite, or whose loss or gradient jumps."""
    memory_limit_mb: int | None = Field(None, ge=1)
    """MiB this process may hold, mapped files aside: a fit estimated above it takes smaller pieces of logits or is refused,
    one that passes it writes a checkpoint and stops. None: what the machine and its cgroup have available at the start. May
    be changed when a fit is resumed."""
    logits_mb: int = Field(96, ge=1, le=65_536)
    """End to end: MiB of logits made at once; about five such pieces exist. Smaller ones read the unembedding more often, and
    round otherwise. May be lowered when a fit is resumed."""
    device: str = "cpu"
    """Device of host and dictionaries."""
    dtype: str = Field("float32", pattern="^(float32|bfloat16|float16)$")
    """Type of the host's weights; dictionaries are float32."""
    kernels: str = Field("auto", pattern=f"^({'|'.join(['auto', PLAIN, *FORMS])})$")
    """Form of the dictionaries' sparse kernels: 'plain' is dense autograd; 'auto' takes the fastest, measured at the start."""
    stack: bool = True
    """Whether TopK dictionaries of one shape with the objective local are updated as one problem where a measurement at the
    start finds that faster, in a fit of 200 updates or more on one process; they may then round otherwise than alone."""
    store: StoreConfig = StoreConfig()
    """Where activations are kept, so that a second fit need not run the host."""
    parallel: Literal["data", "latents", "sites"] = "data"
    """What ranks started by torchrun share out: each batch's rows, each dictionary's latents, or the dictionaries."""
    rank_timeout: float = Field(600.0, gt=0)
    """Seconds without an answer after which a rank counts as lost; longer than the slowest update or checkpoint."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """What is measured at the end."""

    @field_validator("dictionaries")
    @classmethod
    def _named(cls, value: dict[str, DictionaryConfig]) -> dict[str, DictionaryConfig]:
        bad = [name for name in value if not name or name in (".", "..") or any(c in name for c in "/\\\0")]
        if not value:
            raise ValueError("no dictionary is named; give at least one")
        if bad:
            raise ValueError(f"names {bad} cannot be folder names")
        return value

    @model_validator(mode="after")
    def _storable(self) -> FitConfig:
        store = self.store
        spliced = [name for name, dictionary in self.dictionaries.items() if dictionary.starts_runs]
        problems = []
        if store.folder is None and (store.shuffle_rows or store.read_only):
            problems.append("store.shuffle_rows and store.read_only need a store: set store.folder")
        if store.shuffle_rows % self.batch_rows:
            problems.append(f"store.shuffle_rows is {store.shuffle_rows}, wanted a multiple of batch_rows ({self.batch_rows})")
        if spliced and store.shuffle_rows:
            problems.append(
                f"dictionaries {spliced} are trained end to end or by the loss, on whole rows: set store.shuffle_rows to 0"
            )
        if spliced and store.folder is not None and store.dtype != "float32":
            problems.append(
                f"dictionaries {spliced} are trained end to end or by the loss, from exact values: set store.dtype to float32"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self
