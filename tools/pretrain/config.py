"""The config file: one YAML that is the same on a CPU and on a GPU."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tools.pretrain.mixture.registry import FAMILIES
from tuningfork.errors import TaskError

Share = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0, le=3.9)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FamilyConfig(_Strict):
    """How much of a family there is and what is learned of it."""

    share: Share
    """Part of the tokens; shares are divided by their sum."""
    answer_weight: Weight = 1.0
    """Weight of a token of an answer in the loss."""
    context_weight: Weight = 0.3
    """Weight of every other token of a text; control tokens before an answer have none."""


class ModelConfig(_Strict):
    """Shape of a Llama trained from scratch; a model to continue from has its own."""

    num_hidden_layers: int = 8
    hidden_size: int = 256
    intermediate_size: int = 704
    num_attention_heads: int = 4
    max_position_embeddings: int = 1024


class TokenizerConfig(_Strict):
    """Byte-level BPE trained from scratch."""

    vocab_size: int = 8192
    documents: int = 60_000
    """Documents of the training split that it is trained on."""


class PrepareConfig(_Strict):
    """Packed sequences."""

    seed: int = 0
    tokens: int = 15_000_000
    validation_share: float = Field(default=0.01, gt=0, lt=0.5)
    validation_sequences: int = 8
    """Of each family, of the shortest length."""
    lengths: dict[int, Share] = {512: 0.7, 1024: 0.3}
    """Tokens of a sequence, and the part of all tokens in sequences of that length."""
    tokens_per_shard: int = 1 << 20
    families: dict[str, FamilyConfig]

    @model_validator(mode="after")
    def _families_exist(self) -> "PrepareConfig":
        if unknown := sorted(self.families.keys() - FAMILIES.keys()):
            raise ValueError(f"no family is called {unknown[0]!r}; there are {', '.join(FAMILIES)}")
        return self


class TrainConfig(_Strict):
    """The loop."""

    seed: int = 0
    device: str = "cpu"
    compile: bool = False
    """Whether torch.compile is used; pays on a GPU."""
    tokens_per_step: int = 8192
    micro_batch_tokens: int = 2048
    matrix_learning_rate: float = 2e-3
    """Peak rate of Muon, scaled to AdamW's (Moonshot's factor 0.2 * sqrt(larger side))."""
    other_learning_rate: float = 1e-3
    """Peak rate of AdamW, for embeddings and norms."""
    weight_decay: float = 0.05
    momentum: float = 0.95
    newton_schulz_steps: int = 5
    warmup_steps: int = 50
    clip_norm: float = 1.0
    validate_every: int = 100
    checkpoint_minutes: float = 5.0


class PromptsConfig(_Strict):
    """The soft prompts that ship with the model."""

    seed: int = 0
    num_virtual_tokens: int = 16
    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 0.03
    length: int = 256
    """Tokens of the longest conversation."""
    held_out: int = 200
    """Conversations of the validation split that a prompt is measured on."""


class Config(_Strict):
    """Everything about one training."""

    corpus: Path
    work: Path = Path(".pretrain")
    start: Path | None = None
    """Folder of a model to continue from, with its tokenizer; none to start from scratch."""
    kept_out: list[Path] = []
    """Files whose rows must not be in the training data (.jsonl or .csv)."""
    model: ModelConfig = ModelConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    prepare: PrepareConfig
    train: TrainConfig = TrainConfig()
    prompts: PromptsConfig = PromptsConfig()

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer lies."""
        return self.start or self.work / "tokenizer"


def load(path: Path) -> Config:
    """Read a config; its relative paths are relative to the working directory.

    Raises:
        TaskError: The file is missing, not YAML, or a field is wrong.
    """
    try:
        values: Any = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise TaskError(f"{path}: there is no such config") from None
    except YAMLError as error:
        raise TaskError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise TaskError(f"{path}: {place}: {first['msg']}, found {first['input']!r:.80}") from None
