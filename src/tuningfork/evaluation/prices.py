"""Money: a table of prices that the user fills in, and what use costs by it."""

import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tuningfork.errors import FormatError
from tuningfork.evaluation.cost import Spent, Use

PRICES_VARIABLE = "TUNINGFORK_PRICES"
PACKAGED_PRICES = Path(__file__).with_name("prices.yaml")

_SECONDS_PER_HOUR = 3600
_JOULES_PER_KILOWATT_HOUR = 3_600_000
_MONEY_DIGITS = 6


def _as_written(value: object) -> object:
    """A number as its digits say: 0.1 of a file is a tenth, not the binary fraction next to it."""
    if value is None or isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, as 0.15, found {value!r:.40}")
    return Decimal(str(value))


Price = Annotated[Decimal, BeforeValidator(_as_written), Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    """Base of the parts: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class HardwarePrices(_Part):
    """Money for the machine; None is unknown."""

    processor_hour: Price | None = None
    """Of one core."""
    accelerator_hour: Price | None = None
    kilowatt_hour: Price | None = None


class ModelPrices(_Part):
    """Money for a model behind an API."""

    input_per_million_tokens: Price
    output_per_million_tokens: Price
    per_call: Price = Decimal(0)

    def of_call(self, input_tokens: float, output_tokens: float) -> float:
        """What one call costs that reads and says so many tokens."""
        return self.of_calls(1, input_tokens, output_tokens)

    def of_calls(self, num_calls: int, input_tokens: float, output_tokens: float) -> float:
        """What calls cost that read and say so many tokens together."""
        tokens = (
            self.input_per_million_tokens * Decimal(str(input_tokens))
            + self.output_per_million_tokens * Decimal(str(output_tokens))
        ) / 1_000_000
        return float(tokens + self.per_call * num_calls)


class PriceTable(_Part):
    """All prices that are known. Money is counted in decimal and rounded to millionths of the currency."""

    currency: str = Field(default="", max_length=16)
    hardware: HardwarePrices = HardwarePrices()
    models: dict[str, ModelPrices] = {}

    def of_making(self, spent: Spent) -> float | None:
        """What the machine cost for `spent`; None if a price is missing, or what it would be multiplied by.

        An accelerator's hours count where one was used, the processor's core hours too; energy counts if it
        has a price.
        """
        return _rounded(
            self._of_machine(spent.processor_seconds, spent.accelerator_seconds, spent.energy_joules)
        )

    def per_1000_calls(
        self, use: Use, *, model: str | None = None, on_accelerator: bool = False
    ) -> float | None:
        """What 1,000 calls cost as they were timed: of the API's `model`, or of the own machine.

        None if a price that is needed is missing. On the own machine rows were answered one by one, without
        batches, so this is the upper end.
        """
        if model is not None:
            prices = self.models.get(model)
            if prices is None or use.input_tokens_per_call is None or use.output_tokens_per_call is None:
                return None
            one = Decimal(str(prices.of_call(use.input_tokens_per_call, use.output_tokens_per_call)))
            return _rounded(1000 * one)
        seconds = use.seconds_per_call if on_accelerator else None
        money = self._of_machine(use.processor_seconds_per_call, seconds, use.joules_per_call)
        return _rounded(None if money is None else 1000 * money)

    def _of_machine(
        self, processor_seconds: float, accelerator_seconds: float | None, joules: float | None
    ) -> Decimal | None:
        prices = self.hardware
        parts = [(prices.processor_hour, processor_seconds, _SECONDS_PER_HOUR)]
        if accelerator_seconds is not None:
            parts.append((prices.accelerator_hour, accelerator_seconds, _SECONDS_PER_HOUR))
        money = Decimal(0)
        for price, amount, unit in parts:
            if price is None:
                return None
            money += price * Decimal(str(amount)) / unit
        if prices.kilowatt_hour is not None:
            if joules is None:
                return None
            money += prices.kilowatt_hour * Decimal(str(joules)) / _JOULES_PER_KILOWATT_HOUR
        return money


def load_prices(path: Path | None = None) -> PriceTable:
    """Read `path`, or else the file that TUNINGFORK_PRICES names, or else the table without prices.

    Raises:
        FormatError: The file is missing, is not YAML, or a field is wrong; the message names both.
    """
    given = os.environ.get(PRICES_VARIABLE)
    path = path or (Path(given) if given else PACKAGED_PRICES)
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise FormatError(f"{path}: the price table cannot be read: {reason}") from error
    except YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = "" if mark is None else f" line {mark.line + 1}"
        raise FormatError(
            f"{path}{place}: not valid YAML: {' '.join(str(problem or error).split())}"
        ) from error
    if not isinstance(content, dict):
        raise FormatError(f"{path}: expected currency, hardware and models, found {content!r:.60}")
    # An empty entry is one that was not filled in.
    filled = {name: value for name, value in content.items() if value is not None}
    try:
        return PriceTable.model_validate(filled)
    except ValidationError as error:
        raise FormatError(f"{path}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    match problem["type"]:
        case "extra_forbidden":
            return f"{place}: unknown field"
        case "missing":
            return f"{place}: this field is required (0 if it costs nothing)"
        case "decimal_type":
            return f"{place}: expected a number, as 0.15, found nothing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}"


def _rounded(money: Decimal | None) -> float | None:
    return None if money is None else float(round(money, _MONEY_DIGITS))
