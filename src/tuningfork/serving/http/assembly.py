"""A server put together from what somebody asks to be served."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.errors import ServingError
from tuningfork.events import EventSink, Notice, NullSink
from tuningfork.library.checked_out import open_version
from tuningfork.library.places import LibraryPlace
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import ModelRecord
from tuningfork.library.sign_in import sign_in
from tuningfork.library.store import Library
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import BUNDLED, load_model
from tuningfork.serving.catalogue import Catalogue
from tuningfork.serving.gate import Gate, check_exposure
from tuningfork.serving.grammar import FormCompiler
from tuningfork.serving.http.limits import Limits
from tuningfork.serving.http.service import Service
from tuningfork.serving.library_prompts import LibraryPrompts, Selection
from tuningfork.serving.prompts import PromptLoader
from tuningfork.serving.rate_limits import RateLimit
from tuningfork.serving.requests import Engine
from tuningfork.serving.rows import own_tokenizer
from tuningfork.serving.token_texts import TokenTexts


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What is asked of a server."""

    names: Sequence[str] = ()
    """Folders of runs, perhaps as `name=folder`, and prompts of a library; none serves all of the library."""
    model: str | None = None
    """The base model; None takes that of the first prompt, or the bundled one."""
    model_name: str | None = None
    """What clients call the bare base model; None takes the end of its name."""
    device: str = "auto"
    host: str = "127.0.0.1"
    library: LibraryPlace = field(default_factory=LibraryPlace.of)
    is_open: bool = False
    """Whether everybody on the network may come in where no keys are needed."""
    admin_key: str | None = field(default=None, repr=False)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    deadline_seconds: float | None = None
    runs_root: Path | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Asked:
    """The names that were asked for, sorted."""

    runs: dict[str, Path]
    places: tuple[str, ...]


def sort_names(names: Sequence[str]) -> Asked:
    """Which of `names` are runs, with what they are called, and which are prompts of a library.

    Raises:
        ServingError: two runs have one name.
        LibraryError: something is neither a folder nor can be the name of a prompt.
    """
    runs: dict[str, Path] = {}
    places = []
    for given in names:
        name, is_named, text = given.partition("=")
        folder = Path(text if is_named else given)
        if not is_named and not folder.exists():
            places.append(given)
            continue
        called = name if is_named else folder.resolve().name
        if called in runs:
            raise ServingError(f"{called}: two runs have this name; name them: first={runs[called]}")
        runs[called] = folder
    Selection(tuple(places))
    return Asked(runs, tuple(places))


def assemble(
    options: ServeOptions, engine_of: Callable[[FrozenModel], Engine], *, sink: EventSink | None = None
) -> Service:
    """Load the model and what is asked for by name, and check that it may be served where it is to be.

    Raises:
        ServingError: a prompt cannot be served, or the server would be open to a network by mistake.
        LibraryError: there is no library, or nothing of a name in it.
        RunError: there is no such run.
        ModelError: the model cannot be loaded.
    """
    asked = sort_names(options.names)
    library = _open_library(options, asked)
    try:
        gate = Gate(library, admin_key=options.admin_key)
        check_exposure(options.host, gate, is_open=options.is_open)
        report = sink or NullSink()
        model = _load(options, asked, library, report)
        loader = PromptLoader(model)
        prompts = None
        if library is not None:
            prompts = LibraryPrompts(library, loader, Selection(asked.places or ("*",)))
        base_name = options.model_name or _short_name(model.name)
        catalogue = Catalogue(loader, base_name, runs=asked.runs, library=prompts)
        for place in asked.places:
            if not place.endswith("*"):
                # What was asked for by name is there when the server begins, or it does not begin.
                catalogue.find(place)
        return Service(
            engine=engine_of(model),
            model=model,
            catalogue=catalogue,
            gate=gate,
            forms=FormCompiler(own_tokenizer(model.tokenizer), model.vocabulary_size),
            texts=TokenTexts(model.tokenizer),
            limits=options.limits,
            requests_a_minute=RateLimit(options.requests_per_minute),
            tokens_a_minute=RateLimit(options.tokens_per_minute),
            deadline_seconds=options.deadline_seconds,
            runs_root=options.runs_root,
        )
    except BaseException:
        if library is not None:
            library.close()
        raise


def _open_library(options: ServeOptions, asked: Asked) -> Library | None:
    """The library that prompts come from; keys, too, where there is one and people are in it.

    Raises:
        AccessError: the server itself may not read there.
    """
    if not asked.places and (asked.runs or not options.library.exists):
        return None
    library = sign_in(options.library.open_existing())
    try:
        library.prompts(limit=1)
    except BaseException:
        library.close()
        raise
    return library


def _load(options: ServeOptions, asked: Asked, library: Library | None, sink: EventSink) -> FrozenModel:
    record = _first_record(asked, library)
    name = options.model or (record.name if record is not None else BUNDLED)
    keeps_type = record is not None and options.device == "auto"
    return load_model(
        name,
        device=options.device,
        dtype=record.dtype if record is not None and keeps_type and record.weights else "auto",
        quantize="none" if record is None else record.quantize,
        announce=lambda message: sink.emit(Notice(message)),
    )


def _first_record(asked: Asked, library: Library | None) -> ModelRecord | None:
    """The base model of the first prompt that is named; None where none is."""
    for folder in asked.runs.values():
        return RunFolder.open(folder).record.model
    for place in asked.places:
        if library is not None and not place.endswith("*"):
            return open_version(library, place).record.model
    return None


def _short_name(name: str) -> str:
    return Path(name).resolve().name if Path(name).exists() else name
