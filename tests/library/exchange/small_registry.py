"""A registry of text prompts in memory."""

from tuningfork.errors import LibraryError
from tuningfork.library.contents import ImportOrigin
from tuningfork.library.exchange.braces import read_text, write_text
from tuningfork.library.exchange.registry import Pulled, Push, Pushed, check_known


class SmallRegistry:
    """Keeps what is pushed, and what a test puts in."""

    kind = "small"
    place = "https://small.example"

    def __init__(self) -> None:
        self.kept: dict[str, list[tuple[str, str]]] = {}
        self.pushes: list[Push] = []
        self.closed = False

    def put(self, name: str, text: str, content_hash: str = "") -> None:
        self.kept.setdefault(name, []).append((text, content_hash))

    def close(self) -> None:
        self.closed = True

    def numbers(self, name: str) -> list[int]:
        return list(range(1, len(self.kept[name]) + 1))

    def pull(self, name: str, which: str, *, as_text: bool = False) -> Pulled:
        if name not in self.kept:
            raise LibraryError(f"{name}: there is no such prompt")
        number = int(which) if which.isdecimal() else len(self.kept[name])
        text, content_hash = self.kept[name][number - 1]
        words = read_text(text, as_text=as_text)
        origin = ImportOrigin(
            kind=self.kind, place=self.place, reference=f"{name}/{number}", content_hash=content_hash,
            notes=words.notes,
        )  # fmt: skip
        return Pulled(name, number, words, origin, "why", ("production",), ("area:shop",))

    def push(self, push: Push, *, dry_run: bool = False) -> Pushed:
        text = write_text(push.version, registry="Small")
        kept = list(self.kept.get(push.name, []))
        if kept:
            check_known(push, f"{push.name}/{len(kept)}", kept[-1][1])
        if not dry_run:
            self.pushes.append(push)
            self.put(push.name, text, push.version.content_hash)
        return Pushed(f"{push.name}/{len(kept) + 1}", is_new=True)
