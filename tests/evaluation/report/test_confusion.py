from tests.evaluation.report import records
from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord, SeedRecord
from tuningfork.evaluation.comparison import TestRow as Row
from tuningfork.evaluation.report.confusion import MOST_CLASSES, OTHER, Confusion, confusion

RECORD = records.classification()


def answered(
    labels: tuple[str, ...],
    targets: list[tuple[str, ...]],
    *seeds: tuple[str, ...],
    type_: str = "classification",
) -> Confusion:
    contestant = ContestantRecord(
        name="x",
        family="soft",
        status="measured",
        seeds=tuple(
            SeedRecord(seed=at, predictions=said, scores=(0.0,) * len(said)) for at, said in enumerate(seeds)
        ),
    )
    rows = tuple(Row(inputs={}, targets=target) for target in targets)
    record = RECORD.model_copy(
        update={"labels": labels, "rows": rows, "contestants": (contestant,), "task_type": type_}
    )
    found = confusion(record, contestant)
    assert found is not None
    return found


def counts(found: Confusion) -> list[list[float]]:
    return [[cell.count if cell else 0.0 for cell in row.cells] for row in found.rows]


def test_rows_are_right_classes_and_columns_are_answers() -> None:
    found = answered(("a", "b"), [("a",), ("a",), ("b",)], ("a", "b", "b"))
    assert found.columns == ("a", "b")
    assert counts(found) == [[1, 1], [0, 1]]
    assert [(row.name, row.total, row.recall) for row in found.rows] == [("a", 2, 0.5), ("b", 1, 1.0)]
    cell = found.rows[0].cells[1]
    assert cell is not None
    assert (cell.share, cell.is_right) == (0.5, False)


def test_counts_are_means_over_seeds() -> None:
    found = answered(("a", "b"), [("a",), ("b",)], ("a", "b"), ("b", "b"))
    assert counts(found) == [[0.5, 0.5], [0, 1]]
    assert found.rows[0].total == 1
    assert [(m.true, m.said, m.count, m.total, m.share) for m in found.mistakes] == [("a", "b", 0.5, 1, 0.5)]


def test_an_answer_that_is_no_class_has_a_column_of_its_own() -> None:
    found = answered(("a", "b"), [("a",), ("b",)], ("no idea", " b "))
    assert found.columns == ("a", "b", OTHER)
    assert counts(found) == [[0, 0, 1], [0, 1, 0]]


def test_any_target_of_a_row_is_right() -> None:
    found = answered(("a", "b"), [("a", "b")], ("b",))
    assert counts(found) == [[0, 1]]
    assert [(row.name, row.recall) for row in found.rows] == [("b", 1.0)]
    assert found.mistakes == ()


def test_tags_are_counted_word_by_word_and_missing_ones_are_another_answer() -> None:
    found = answered(("O", "N"), [("O N O",), ("N O",)], ("O N N", "N"), type_="token_classification")
    assert counts(found) == [[1, 1, 1], [0, 2, 0]]


def test_the_most_frequent_mistakes_come_first() -> None:
    text = next(each for each in RECORD.contestants if each.name == "text prompt")
    found = confusion(RECORD, text)
    assert found is not None
    sizes = [mistake.count for mistake in found.mistakes]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 10


def many(number: int) -> ComparisonRecord:
    return records.classification(
        labels=[f"c{at:03}" for at in range(number)], num_rows=2 * number, num_seeds=1
    )


def test_of_many_classes_those_that_were_mistaken_stay() -> None:
    record = many(MOST_CLASSES + 10)
    best = next(each for each in record.contestants if each.name == "LoRA")
    found = confusion(record, best)
    assert found is not None
    assert len(found.rows) == MOST_CLASSES
    assert found.num_left_out == 10
    assert [row.name for row in found.rows] == sorted(row.name for row in found.rows)
    shown = {row.name for row in found.rows}
    assert {mistake.true for mistake in found.mistakes} <= shown


def test_the_last_of_many_classes_stays_if_it_is_the_one_mistaken() -> None:
    labels = tuple(f"c{at:03}" for at in range(MOST_CLASSES + 5))
    said = (*labels[:-2], labels[-1], labels[-2])
    found = answered(labels, [(label,) for label in labels], said)
    assert found.columns == (*labels[: MOST_CLASSES - 2], *labels[-2:])


def test_without_classes_or_answers_there_is_no_matrix() -> None:
    contestant = RECORD.contestants[0]
    assert confusion(RECORD.model_copy(update={"labels": ()}), contestant) is None
    assert confusion(RECORD.model_copy(update={"task_type": "generation"}), contestant) is None
    assert confusion(RECORD, contestant.model_copy(update={"seeds": ()})) is None
