"""A model behind an OpenAI-compatible address: asked over HTTP, paid by the call, never tuned here."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from tuningfork.data.example import Message
from tuningfork.errors import BudgetSpent, RemoteError
from tuningfork.models.remote_cache import Reply, ResponseCache, request_key
from tuningfork.models.remote_endpoint import RemoteSettings
from tuningfork.models.remote_transport import Transport

Price = Callable[[int, int], float]
"""What a call costs: of its input and its output tokens."""

_CHAT, _TEXT = "/chat/completions", "/completions"


@dataclass(frozen=True, slots=True)
class RemoteSampling:
    """How an answer is drawn."""

    max_tokens: int = 256
    temperature: float | None = 0.0
    """None leaves it to the server, for models that take none."""
    seed: int | None = None
    stop: tuple[str, ...] = ()
    draw: int = 0
    """Number of the answer among several to the same request; each is asked for and kept on its own."""
    log_probabilities: bool = False
    """Whether the tokens of the answer are asked for with their log-probabilities."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer."""

    text: str
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    """As the server counted them; None where it does not count."""
    seconds: float = 0.0
    """Of the attempt that was answered, also where the answer comes from the cache."""
    is_cached: bool = False
    tokens: tuple[str, ...] | None = None
    log_probabilities: tuple[float, ...] | None = None
    """Nats, of `tokens`; None unless asked for, and where the server has none."""


@dataclass(frozen=True, slots=True)
class RemoteUsage:
    """What a model was asked since it was opened."""

    calls: int = 0
    """Answered by the server."""
    cached_calls: int = 0
    """Answered from the cache, for nothing."""
    input_tokens: int = 0
    output_tokens: int = 0
    """Of calls that the server answered."""
    money: float = 0.0
    """Of these calls; 0 where no price is known."""


@dataclass(slots=True)
class _Group:
    """Requests that were made together; nothing more is asked once one of them failed."""

    is_halted: bool = False


class RemoteModel:
    """Asks a model behind an address, at most `concurrency` calls at a time.

    Answers are kept by the SHA-256 of address and request, so that whoever asks the same again, after a kill
    or an error too, pays for nothing twice. Equal requests that are made together are one call. Safe to use
    from one thread at a time.
    """

    def __init__(self, settings: RemoteSettings, *, price: Price | None = None) -> None:
        """Prepare to ask; nothing is sent, and no key is read, before the first call that needs the server.

        Raises:
            RemoteError: A limit of money was set and there is no price to hold against it.
        """
        if settings.max_money is not None and price is None:
            raise RemoteError(
                f"a limit of money needs the price of {settings.model!r}, and the price table has none; "
                "add it, or limit the number of calls"
            )
        self.settings = settings
        self._price = price
        self._cache = None if settings.cache_folder is None else ResponseCache(settings.cache_folder)
        self._transport: Transport | None = None
        self._reserved_calls = 0
        self.usage = RemoteUsage()

    def __repr__(self) -> str:
        return f"RemoteModel({self.settings.model!r} at {self.settings.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def chat(self, messages: Sequence[Message], sampling: RemoteSampling | None = None) -> Completion:
        """The model's next turn after `messages`.

        Raises:
            RemoteError: There was no usable answer; one line says why.
            BudgetSpent: One more call would be beyond `max_calls` or `max_money`.
        """
        return self.chat_all([messages], sampling)[0]

    def chat_all(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: RemoteSampling | None = None,
        *,
        advance: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """The model's next turn in each of `conversations`, in their order.

        `advance` is told, in the caller's thread, how many are done. After a failure no further call is made;
        those that are under way are waited for and kept if the budget was spent, and cancelled otherwise.

        Raises:
            RemoteError: as of `chat`.
            BudgetSpent: as of `chat`.
        """
        sampling = sampling or RemoteSampling()
        bodies = [self._chat_body(messages, sampling) for messages in conversations]
        return self._ask_all(_CHAT, bodies, sampling.draw, advance)

    def complete(self, prompt: str, sampling: RemoteSampling | None = None) -> Completion:
        """What the model writes behind `prompt`, for servers that complete plain text.

        Raises:
            RemoteError: as of `chat`; also where the server only chats.
            BudgetSpent: as of `chat`.
        """
        sampling = sampling or RemoteSampling()
        body = self._body({"prompt": prompt}, sampling)
        if sampling.log_probabilities:
            body["logprobs"] = 1
        return self._ask_all(_TEXT, [self._with_parameters(body)], sampling.draw, None)[0]

    def is_cached(self, messages: Sequence[Message], sampling: RemoteSampling | None = None) -> bool:
        """Whether `chat` would answer from the cache."""
        sampling = sampling or RemoteSampling()
        if self._cache is None:
            return False
        key = request_key(self.settings.url + _CHAT, self._chat_body(messages, sampling), sampling.draw)
        return self._kept(_CHAT, key) is not None

    def _chat_body(self, messages: Sequence[Message], sampling: RemoteSampling) -> dict[str, Any]:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        body = self._body({"messages": turns}, sampling)
        if sampling.log_probabilities:
            body["logprobs"] = True
        return self._with_parameters(body)

    def _body(self, asked: dict[str, Any], sampling: RemoteSampling) -> dict[str, Any]:
        body = {"model": self.settings.model, **asked, "max_tokens": sampling.max_tokens}
        if sampling.temperature is not None:
            body["temperature"] = sampling.temperature
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        return body

    def _with_parameters(self, body: dict[str, Any]) -> dict[str, Any]:
        merged = {**body, **self.settings.parameters}
        return {name: value for name, value in merged.items() if value is not None}

    def _ask_all(
        self,
        path: str,
        bodies: Sequence[dict[str, Any]],
        draw: int,
        advance: Callable[[int], None] | None,
    ) -> list[Completion]:
        keys = [request_key(self.settings.url + path, body, draw) for body in bodies]
        answers: dict[str, Completion] = {}
        open_requests: dict[str, dict[str, Any]] = {}
        for key, body in zip(keys, bodies, strict=True):
            if key in answers or key in open_requests:
                continue
            if (kept := self._kept(path, key)) is not None:
                answers[key] = kept
                self.usage = replace(self.usage, cached_calls=self.usage.cached_calls + 1)
            else:
                open_requests[key] = body
        counts = Counter(key for key in keys if key in open_requests)
        num_done = len(keys) - counts.total()
        if advance is not None and num_done:
            advance(num_done)

        def note(key: str, completion: Completion) -> None:
            nonlocal num_done
            answers[key] = completion
            num_done += counts[key]
            if advance is not None:
                advance(num_done)

        if open_requests:
            self._ask_server(path, open_requests, note)
        return [answers[key] for key in keys]

    def _ask_server(
        self, path: str, requests: Mapping[str, dict[str, Any]], note: Callable[[str, Completion], None]
    ) -> None:
        if self._transport is None:
            self._transport = Transport(self.settings)
        transport, group = self._transport, _Group()
        futures: dict[Future[Completion | None], str] = {
            transport.submit(self._ask(transport, path, key, body, group)): key
            for key, body in requests.items()
        }
        failure: RemoteError | None = None
        try:
            for future in as_completed(futures):
                try:
                    completion = future.result()
                except RemoteError as error:
                    failure = failure or error
                    if not isinstance(error, BudgetSpent):
                        break
                else:
                    if completion is not None:
                        note(futures[future], completion)
        finally:
            # Also on Ctrl-C: what has ended is not touched by this.
            for future in futures:
                future.cancel()
        if failure is not None:
            raise failure

    async def _ask(
        self, transport: Transport, path: str, key: str, body: dict[str, Any], group: _Group
    ) -> Completion | None:
        """One answer of the server, kept; None if another request of the group failed before."""
        async with transport.slots:
            if group.is_halted:
                return None
            try:
                self._reserve_call()
                try:
                    reply = await transport.post(path, body)
                    completion = self._read(path, reply)
                except BaseException:
                    self._reserved_calls -= 1
                    raise
                self._keep(key, body, reply)
                self._count(completion)
            except RemoteError:
                group.is_halted = True
                raise
        return completion

    def _reserve_call(self) -> None:
        limit, most = self.settings.max_calls, self.settings.max_money
        if limit is not None and self._reserved_calls >= limit:
            raise BudgetSpent(
                f"{self.settings.model}: the budget of {limit} calls is spent; answers so far are kept, "
                "so the same command with a higher limit goes on from here"
            )
        if most is not None and self.usage.money >= most:
            raise BudgetSpent(
                f"{self.settings.model}: the budget of {most:g} is spent ({self.usage.money:.4g} by "
                f"{self.usage.calls} calls); answers so far are kept, so the same command with a higher "
                "limit goes on from here"
            )
        self._reserved_calls += 1

    def _count(self, completion: Completion) -> None:
        has_count = completion.input_tokens is not None and completion.output_tokens is not None
        if self.settings.max_money is not None and not has_count:
            raise RemoteError(
                f"{self.settings.host} ({self.settings.model}): does not count tokens, so a limit of money "
                "cannot be kept; limit the number of calls instead"
            )
        read, said = completion.input_tokens or 0, completion.output_tokens or 0
        self.usage = replace(
            self.usage,
            calls=self.usage.calls + 1,
            input_tokens=self.usage.input_tokens + read,
            output_tokens=self.usage.output_tokens + said,
            money=self.usage.money + (0.0 if self._price is None else self._price(read, said)),
        )

    def _keep(self, key: str, body: Mapping[str, Any], reply: Reply) -> None:
        if self._cache is None:
            return
        try:
            self._cache.write(key, body, reply)
        except OSError as error:
            raise RemoteError(
                f"{self._cache.path(key)}: the answer cannot be kept ({error.strerror}); make room, "
                "choose another folder by TUNINGFORK_CACHE, or keep none with --no-cache"
            ) from error

    def _kept(self, path: str, key: str) -> Completion | None:
        reply = None if self._cache is None else self._cache.read(key)
        if reply is None:
            return None
        try:
            return replace(self._read(path, reply), is_cached=True)
        except RemoteError:
            return None

    def _read(self, path: str, reply: Reply) -> Completion:
        """The answer in `reply`.

        Raises:
            RemoteError: It has not the shape that OpenAI's interface gives it.
        """
        try:
            choice = reply.content["choices"][0]
            text = _text_of(choice["message"]["content"] if path == _CHAT else choice["text"])
            tokens, log_probabilities = _scored_tokens(choice.get("logprobs"))
            usage = reply.content.get("usage") or {}
            return Completion(
                text=text,
                finish_reason=str(choice.get("finish_reason") or ""),
                input_tokens=_count_of(usage, "prompt_tokens"),
                output_tokens=_count_of(usage, "completion_tokens"),
                seconds=reply.seconds,
                tokens=tokens,
                log_probabilities=log_probabilities,
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            found = ", ".join(sorted(map(str, reply.content))[:8]) or "nothing"
            raise RemoteError(
                f"{self.settings.host} ({self.settings.model}): expected an answer in choices[0] as OpenAI's "
                f"interface gives it, found fields {found:.120}"
            ) from None


def _text_of(content: object) -> str:
    """The text of an answer; nothing where the model said nothing, as when it ran out of tokens."""
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type", "text") == "text")
    if not isinstance(content, str):
        raise TypeError("the content of an answer is text")
    return content


def _count_of(usage: Mapping[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _scored_tokens(found: Any) -> tuple[tuple[str, ...] | None, tuple[float, ...] | None]:
    """Tokens and log-probabilities in the shape of a chat's answer, or of a completion's."""
    if not found:
        return None, None
    if "content" in found:
        entries = found["content"] or []
        return tuple(str(e["token"]) for e in entries), tuple(float(e["logprob"]) for e in entries)
    return tuple(map(str, found["tokens"])), tuple(map(float, found["token_logprobs"]))
