"""The base model of a job that trains."""

from tuningfork.events import EventSink, Notice
from tuningfork.library.run_records import RunRecord, TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model


def load_base(options: TuneOptions, before: RunRecord | None, sink: EventSink) -> FrozenModel:
    """Load the model that `options` name; `before` is what was written down of a job that goes on.

    Raises:
        ModelError: If it cannot be loaded.
    """
    # What goes on keeps its number format, which was perhaps chosen by timing.
    return load_model(
        options.model,
        device=options.device,
        dtype=options.dtype if before is None else before.model.dtype,
        quantize=options.quantize,
        announce=lambda message: sink.emit(Notice(message)),
    )
