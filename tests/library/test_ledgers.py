"""What ledgers find is tested through `verify`; here, which tables they are of."""

from tuningfork.library.ledgers import LEDGERS


def test_tables_that_gates_judge_by_have_ledgers() -> None:
    assert [name for name, *_ in LEDGERS] == ["policy", "gate run", "approval", "evidence"]
