import pytest

from tuningfork.cli.library.difference_tables import print_diff, print_words
from tuningfork.library.contents import Figure
from tuningfork.library.differences import (
    ArtefactDiff,
    FigureChange,
    FileChange,
    MatrixChange,
    TokenGroup,
    ValueChange,
    VectorChange,
    VersionDiff,
    WordEdit,
)

LONG = "model.layers.12.self_attention.projection_of_queries_with_a_long_name_that_goes_on_and_on.weight"
PLACE = "decoder's layer 1234 values"
FIGURE = Figure(name=LONG, value=0.123456, low=0.1, high=0.2, num_rows=123456)
NOTHING = VersionDiff(
    before="a@1", after="a@2", kind_before="soft", kind_after="text", same_content=False, words=(),
    contract=(), breaks=(), lineage=(), config=(), files=(), figures=(), artefacts=(),
)  # fmt: skip


def test_tables_fit_80_columns_whatever_is_in_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    token = VectorChange(
        index=1234, norm_before=1.234e-20, norm_after=1.234e20, cosine=None, relative_change=1e9
    )
    group = TokenGroup(
        name=PLACE, tokens=(token,) * 3, only_before=(1.0,) * 3, cosine=-0.5, relative_change=None
    )
    matrix = MatrixChange(name=LONG, norm_before=None, norm_after=1.0)
    file = FileChange(
        path=LONG, change="changed", before="a" * 64, after="b" * 64, before_bytes=1, after_bytes=10**9
    )
    print_diff(
        NOTHING.model_copy(
            update={
                "files": (file,),
                "figures": (FigureChange(name=LONG, before=FIGURE, after=FIGURE),),
                "artefacts": tuple(
                    ArtefactDiff(file="prompt", groups=(group,) * count, matrices=(matrix,))
                    for count in (1, 3)
                ),
            }
        ),
        limit=2,
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "1 more: --limit 3" in lines


def test_values_are_cut_and_hashes_short(capsys: pytest.CaptureFixture[str]) -> None:
    changes = (
        ValueChange(path=("data_hash",), change="changed", before="a" * 64, after="b" * 64),
        ValueChange(path=("x", "y"), change="added", after="z" * 500),
        ValueChange(path=("gone",), change="removed", before=1),
    )
    print_diff(NOTHING.model_copy(update={"lineage": changes}), limit=1)
    lines = capsys.readouterr().out.splitlines()
    assert "  data_hash: aaaaaaaaaaaa -> bbbbbbbbbbbb" in lines
    (added,) = (line for line in lines if line.startswith("+ x.y:"))
    assert added.endswith("zzz...")
    assert len(added) < 140
    assert "- gone: 1" in lines


def test_marks_are_not_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    words = (WordEdit(op="same", text="[bold]a "), WordEdit(op="added", text="[/x]"))
    print_words(NOTHING.model_copy(update={"words": words}))
    assert capsys.readouterr().out == "[bold]a {+[/x]+}\n"
