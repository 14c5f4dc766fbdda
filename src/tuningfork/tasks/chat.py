"""Examples as chat messages in plain text, for models that take no tokens."""

from tuningfork.data.example import Example, Message
from tuningfork.data.rows import describe_place
from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.segments import TARGET
from tuningfork.tasks.task import Task


def why_no_chat(task: Task) -> str | None:
    """Why rows of `task` cannot be asked as messages, in a few words; None if they can."""
    if task.has_tags:
        return "words are tagged, which answers in text do not do"
    try:
        task.template.without_answer()
    except TaskError:
        return "the prompt has a gap to fill, and a chat continues text"
    return None


def chat_messages(task: Task, example: Example) -> list[Message]:
    """Return what a chat model is asked for `example`: the text prompt as it stands, in its turns.

    Examples that the task shows, and its prompt has no block for, are earlier turns.

    In a conversation the prompt is the system turn, and system messages of the data stand on top of the first
    user turn. Labels are asked for by their words, behind everything else, as such a model cannot be held to
    them otherwise.

    Raises:
        TaskError: A variable has no value, or `why_no_chat` says why this task cannot be asked.
        DataError: A value is not what its variable may be; or a conversation has no messages, or does not
            go from a user's turn to one before the answer.
    """
    if (reason := why_no_chat(task)) is not None:
        raise TaskError(f"task {task.name}: {reason}")
    if not task.is_conversation:
        return _prompt_messages(task, example)
    messages = list(example.messages)
    on_top: list[str] = []
    while messages and messages[0].role == "system":
        on_top.append(messages.pop(0).content)
    roles = [message.role for message in messages]
    if not roles or roles[0] != "user" or roles[-1] == "assistant":
        where = f"{describe_place(example.source)}: " if example.source else ""
        raise DataError(
            f"{where}a conversation goes from the user's first turn to the turn before the answer, found "
            f"{', '.join(roles) or 'no turns'}"
        )
    first = Message("user", "\n\n".join([*on_top, messages[0].content]))
    instruction = _asking_for_labels(task, task.template.render({}))
    return [Message("system", instruction), first, *messages[1:]]


def _prompt_messages(task: Task, example: Example) -> list[Message]:
    template = task.template.without_answer()
    shown = [(dict(one.inputs), _words_of(task, one.targets[0])) for one in task.shown_examples]
    if template.demonstrations is not None:
        template = template.showing({**inputs, TARGET: answer} for inputs, answer in shown)
        shown = []
    try:
        *on_top, (_, asked) = template.said_turns(example.inputs)
    except DataError as error:
        raise DataError(
            f"{describe_place(example.source)}: {error}" if example.source else str(error)
        ) from None
    messages = [Message(role, text) for role, text in on_top]
    for inputs, answer in shown:
        messages += [Message("user", template.said_turns(inputs)[-1][1]), Message("assistant", answer)]
    return [*messages, Message("user", _asking_for_labels(task, asked))]


def _words_of(task: Task, target: str) -> str:
    return target if task.labels is None else task.labels[target]


def _asking_for_labels(task: Task, prompt: str) -> str:
    if task.labels is None:
        return prompt
    words = "\n".join(task.labels.values())
    return f"{prompt}\n\nAnswer with exactly one of these lines and nothing else:\n{words}"
