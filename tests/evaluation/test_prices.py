from decimal import Decimal
from pathlib import Path

import pytest

from tuningfork.errors import FormatError
from tuningfork.evaluation.cost import Spent, Use
from tuningfork.evaluation.prices import PACKAGED_PRICES, PRICES_VARIABLE, PriceTable, load_prices

TABLE = """
currency: CHF
hardware:
  processor_hour: 0.036
  accelerator_hour: 3.6
  kilowatt_hour: 0.3
models:
  gpt-x:
    input_per_million_tokens: 0.15
    output_per_million_tokens: 0.6
  small:
    input_per_million_tokens: 0
    output_per_million_tokens: 0.1
    per_call: 0.002
"""


def use(seconds: float = 2.0, processor: float = 4.0, joules: float | None = None) -> Use:
    return Use(8, 1.0, 2.0, 60.0, 100.0, 20.0, seconds, processor, joules)


def spent(accelerator: float | None = None, joules: float | None = None) -> Spent:
    return Spent(9999.0, 7200.0, accelerator, joules, 1)


def table(tmp_path: Path, text: str = TABLE) -> PriceTable:
    path = tmp_path / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return load_prices(path)


def test_calls_of_an_api_cost_their_tokens(tmp_path: Path) -> None:
    prices = table(tmp_path)
    assert prices.currency == "CHF"
    assert prices.per_1000_calls(use(), model="gpt-x") == 0.027  # 1000 * (100 * 0.15 + 20 * 0.6) / 1e6
    assert prices.per_1000_calls(use(), model="small") == 2.002
    assert prices.per_1000_calls(use(), model="unheard of") is None
    uncounted = Use(8, 1.0, 2.0, None, None, None, 2.0, 4.0)
    assert prices.per_1000_calls(uncounted, model="gpt-x") is None


def test_numbers_are_what_their_digits_say(tmp_path: Path) -> None:
    prices = table(tmp_path).models["gpt-x"]
    assert prices.input_per_million_tokens == Decimal("0.15")
    assert prices.of_call(1_000_000, 0) == 0.15


def test_the_own_machine_costs_its_hours_and_its_energy(tmp_path: Path) -> None:
    prices = table(tmp_path)
    # 4 processor seconds of 0.00001, 36 J of 0.3 / 3.6e6.
    assert prices.per_1000_calls(use(joules=36.0)) == pytest.approx(1000 * (4e-5 + 3e-6))
    assert prices.per_1000_calls(use(joules=36.0), on_accelerator=True) == pytest.approx(2.043)
    assert prices.of_making(spent(joules=3.6e6)) == pytest.approx(0.072 + 0.3)
    assert prices.of_making(spent(accelerator=1800.0, joules=0.0)) == pytest.approx(0.072 + 1.8)


def test_what_is_unknown_is_not_free(tmp_path: Path) -> None:
    prices = table(tmp_path)
    assert prices.per_1000_calls(use(joules=None)) is None
    assert prices.of_making(spent(joules=None)) is None
    no_energy = table(tmp_path, "hardware: {processor_hour: 0.036}")
    assert no_energy.per_1000_calls(use()) == pytest.approx(0.04)
    assert no_energy.per_1000_calls(use(), on_accelerator=True) is None
    assert no_energy.of_making(spent(accelerator=1.0)) is None
    free = table(tmp_path, "hardware: {processor_hour: 0}")
    assert free.per_1000_calls(use()) == 0


def test_money_is_rounded_to_millionths(tmp_path: Path) -> None:
    prices = table(tmp_path, "hardware: {processor_hour: 0.01}")
    assert prices.per_1000_calls(use(processor=1.0)) == 0.002778


def test_the_packaged_table_has_no_prices() -> None:
    prices = load_prices(PACKAGED_PRICES)
    assert prices.models == {}
    assert set(prices.hardware.model_dump().values()) == {None}
    assert prices.per_1000_calls(use()) is None


def test_where_the_table_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PRICES_VARIABLE, raising=False)
    assert load_prices().models == {}
    (tmp_path / "mine.yaml").write_text("currency: XAU", encoding="utf-8")
    monkeypatch.setenv(PRICES_VARIABLE, str(tmp_path / "mine.yaml"))
    assert load_prices().currency == "XAU"
    (tmp_path / "other.yaml").write_text("currency: XAG", encoding="utf-8")
    assert load_prices(tmp_path / "other.yaml").currency == "XAG"


def test_the_example_in_the_packaged_table_can_be_filled_in(tmp_path: Path) -> None:
    text = PACKAGED_PRICES.read_text(encoding="utf-8").replace("models: {}", "")
    commented = text.partition("# models:")[2]
    filled = text.partition("# models:")[0] + "models:" + commented.replace("\n# ", "\n")
    assert list(table(tmp_path, filled).models) == ["name-of-the-model"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "line 1: not valid YAML"),
        ("just words", "expected currency, hardware and models, found 'just words'"),
        ("", "expected currency, hardware and models, found None"),
        ("hardwear: {}", "hardwear: unknown field"),
        (
            "hardware: {processor_hour: cheap}",
            "hardware.processor_hour: expected a number, as 0.15, found 'cheap'",
        ),
        (
            "hardware: {processor_hour: true}",
            "hardware.processor_hour: expected a number, as 0.15, found True",
        ),
        (
            "hardware: {processor_hour: -1}",
            "hardware.processor_hour: input should be greater than or equal to 0",
        ),
        ("hardware: {processor_hour: .inf}", "hardware.processor_hour: input should be a finite number"),
        (
            "models: {m: {input_per_million_tokens: 1}}",
            "models.m.output_per_million_tokens: this field is required",
        ),
        (
            "models: {m: {input_per_million_tokens: , output_per_million_tokens: 1}}",
            "models.m.input_per_million_tokens: expected a number, as 0.15, found nothing",
        ),
        ("currency: EUR\ncurrency: USD", "line 2: not valid YAML: found duplicate key"),
        ("!!python/object:os.system {}", "not valid YAML: could not determine a constructor"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError) as refused:
        table(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'prices.yaml'}")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none.yaml: the price table cannot be read: No such file"):
        load_prices(tmp_path / "none.yaml")
    (tmp_path / "latin").write_bytes(b"currency: \xff")
    with pytest.raises(FormatError, match="latin: the price table cannot be read: not UTF-8 text"):
        load_prices(tmp_path / "latin")
