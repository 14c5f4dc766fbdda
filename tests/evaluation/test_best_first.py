from tuningfork.evaluation.best_first import best_first
from tuningfork.evaluation.comparison import ContestantRecord, CostRecord


def one(name: str, stored_bytes: int | None = None, seconds: float = 1.0) -> ContestantRecord:
    cost = None
    if stored_bytes is not None:
        cost = CostRecord(
            seconds=seconds,
            processor_seconds=seconds,
            peak_memory_bytes=0,
            trained_parameters=0,
            stored_bytes=stored_bytes,
        )
    return ContestantRecord(name=name, family="soft", status="measured", cost=cost)


GIVEN = [one("a"), one("large", 900, 1.0), one("small", 20, 9.0), one("also small", 20, 1.0), one("z", 5)]


def names(means: dict[str, float], *, higher_is_better: bool = True) -> list[str]:
    return [each.name for each in best_first(GIVEN, means, higher_is_better=higher_is_better)]


def test_the_best_mean_comes_first_whichever_way_is_better() -> None:
    means = {"a": 0.1, "large": 0.2, "small": 0.3, "also small": 0.4, "z": 0.5}
    assert names(means) == ["z", "also small", "small", "large", "a"]
    assert names(means, higher_is_better=False) == ["a", "large", "small", "also small", "z"]


def test_among_equals_fewer_bytes_come_first_whatever_the_time() -> None:
    equal = {"a": 0.3, "large": 0.1 + 0.2, "small": 0.3, "also small": 0.3, "z": 0.1}
    assert names(equal) == ["small", "also small", "large", "a", "z"]
    assert names(equal, higher_is_better=False) == ["z", "small", "also small", "large", "a"]
