"""How the rows of a model are continued: side by side where it can hold them so, else each by itself."""

from functools import partial

from transformers import PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.encoder_decoder import EncoderDecoderPath
from tuningfork.models.path import ForwardPath
from tuningfork.models.plain import PlainPath
from tuningfork.models.reading import RunningRows
from tuningfork.models.separate import AnsweredRow, PlainRow, SeparateRows
from tuningfork.models.shared import SharedPrefixPath
from tuningfork.models.side_by_side import SharedRows


def running_rows(path: ForwardPath, network: PreTrainedModel) -> RunningRows:
    """No rows yet of `network`, which runs along `path`.

    Raises:
        PromptError: if it is an encoder, which continues nothing.
    """
    match path:
        case SharedPrefixPath():
            return SharedRows(path, network)
        case PlainPath():
            return SeparateRows(network, path.prompt_logits, partial(PlainRow, path), scores_rows=True)
        case EncoderDecoderPath():
            return SeparateRows(network, path.prompt_logits, partial(AnsweredRow, path), scores_rows=False)
        case _:
            raise PromptError(
                f"{network.config.model_type} is an encoder, which fills in words and continues no text; "
                "it answers by scoring labels"
            )
