import pytest

from tests.library.prompts import LINEAGE, content_of
from tuningfork.cli.library.tables import print_page, print_prompts, print_version
from tuningfork.library.contents import Comment, Figure, PromptPage, PromptSummary, VersionRecord

LONG = "team-with-a-long-name/of-a-folder-in-a-folder/and-a-prompt-whose-name-goes-on-and-on-and-on"


def version(**fields: object) -> VersionRecord:
    known: dict[str, object] = {
        "prompt": LONG, "number": 7, "content": content_of(), "content_hash": "c" * 64, "lineage": LINEAGE,
        "note": "", "parent": None, "author": "somebody.with.a.long.name@example.org",
        "created": "2026-01-02T03:04:05.000000+00:00",
    }  # fmt: skip
    return VersionRecord.model_validate(known | fields)


def widest(capsys: pytest.CaptureFixture[str]) -> int:
    return max(map(len, capsys.readouterr().out.splitlines()))


def test_tables_fit_80_columns_whatever_is_in_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    summary = PromptSummary(
        name=LONG, description="", owner="ann", created="", last_number=12345, kind="adapter",
        aliases={f"alias-{n}": n for n in range(9)}, tags=tuple(f"language:{n}" for n in range(9)),
    )  # fmt: skip
    print_prompts([summary], has_more=False, as_json=False)
    assert widest(capsys) <= 80
    figure = Figure(name="entity_f1 of most frequent tag", value=0.5, low=0.4, high=0.6, num_rows=10**6)
    measured = version(lineage=LINEAGE.model_copy(update={"figures": (figure,)}), note="word " * 30)
    page = PromptPage(
        name="x", description="", owner="ann", created="", last_number=7, aliases={}, tags=(),
        versions=(measured,), version_tags={7: ("a" * 60,)}, comments=(),
    )  # fmt: skip
    print_page(page, as_json=False)
    assert widest(capsys) <= 80


def test_what_people_wrote_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    marked = content_of(text="Answer [bold]now[/bold] [1, 2]: {{text}}")
    print_version(version(content=marked), {"prompt.safetensors": 1}, as_json=False)
    assert "Answer [bold]now[/bold] [1, 2]: {{text}}\n" in capsys.readouterr().out
    comment = Comment(number=None, author="[red]eve", text="[link=x]see[/link]", time="2026-01-02T03:04:05")
    page = PromptPage(
        name="x", description="[d]", owner="ann", created="", last_number=0, aliases={}, tags=(),
        versions=(), version_tags={}, comments=(comment,),
    )  # fmt: skip
    print_page(page, as_json=False)
    printed = capsys.readouterr().out
    assert "[red]eve, 2026-01-02 03:04: [link=x]see[/link]" in printed
    assert "For       [d]" in printed
