from tests.tiny_models import tiny_model
from tuningfork.models.prefix import PrefixState
from tuningfork.models.reading import Reading


def test_a_row_is_read_when_nothing_is_left() -> None:
    assert Reading(PrefixState(0), []).is_read
    model, rows = tiny_model("llama"), tiny_model("llama").running_rows()
    reading = rows.begin(model.prefix([]), [5, 6, 7])
    for piece, num_read in ((1, 1), (1, 2), (5, 3)):
        assert not reading.is_read
        rows.read(reading, piece)
        assert reading.num_read == num_read
    assert reading.is_read
