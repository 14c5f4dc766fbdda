"""What other clients of OpenAI's protocol get from a server: run by their own interpreter, prints JSON.

Usage: python client_calls.py (langchain | litellm | lm_eval) URL TOKENIZER_FOLDER
"""

import json
import sys
from typing import Any

SCHEMA = {
    "title": "order",
    "description": "An order.",
    "type": "object",
    "properties": {"drink": {"enum": ["tea", "milk"]}},
    "required": ["drink"],
    "additionalProperties": False,
}


def langchain(url: str, _: str) -> dict[str, Any]:
    """Chat, stream, batch, structured output, scores, completion and an error by langchain-openai."""
    from langchain_openai import ChatOpenAI, OpenAI

    common: dict[str, Any] = {"base_url": url, "api_key": "none", "max_retries": 0, "timeout": 60}
    chat = ChatOpenAI(model="replies", **common)
    whole = chat.invoke([("system", "Be kind."), ("human", "tea?")])
    streamed = "".join(str(chunk.content) for chunk in chat.stream("tea?"))
    drawn = ChatOpenAI(model="tiny", seed=3, temperature=1.0, max_tokens=60, **common)
    order = drawn.with_structured_output(SCHEMA, method="json_schema").invoke("tea?")
    scored = drawn.bind(logprobs=True, top_logprobs=2, max_tokens=3).invoke("x")
    text = OpenAI(model="replies", temperature=0, max_tokens=7, **common).invoke("tea?")
    try:
        ChatOpenAI(model="nobody", **common).invoke("x")
        error = ""
    except Exception as found:
        error = f"{type(found).__name__}: {found}"
    return {
        "whole": whole.content,
        "usage": whole.usage_metadata,
        "model": whole.response_metadata["model_name"],
        "streamed": streamed,
        "batch": [answer.content for answer in chat.batch(["tea?", "milk?", "tea?"])],
        "order": order,
        "logprobs": len(scored.response_metadata["logprobs"]["content"]),
        "text": text,
        "error": error,
    }


def litellm(url: str, _: str) -> dict[str, Any]:
    """Chat, stream, n, stop, completion, models and errors by litellm."""
    import litellm as client

    common: dict[str, Any] = {"api_base": url, "api_key": "none", "num_retries": 0}
    messages = [{"role": "user", "content": "tea?"}]
    whole = client.completion("openai/replies", messages=messages, **common)
    stream = client.completion("openai/replies", messages=messages, stream=True, **common)
    several = client.completion(
        "openai/tiny", messages=messages, n=2, seed=1, temperature=1.5, max_tokens=5, **common
    )
    form = {"type": "json_schema", "json_schema": {"name": "order", "schema": SCHEMA}}
    order = client.completion(
        "openai/tiny", messages=messages, response_format=form, max_tokens=60, seed=4, **common
    )
    text = client.text_completion(
        model="text-completion-openai/replies", prompt="tea?", temperature=0, **common
    )
    errors = []
    for name, fields in (("nobody", {}), ("tiny", {"max_tokens": 10**5})):
        try:
            client.completion(f"openai/{name}", messages=messages, **fields, **common)
        except Exception as found:
            errors.append(type(found).__name__)
    return {
        "whole": whole.choices[0].message.content,
        "finish_reason": whole.choices[0].finish_reason,
        "usage": [whole.usage.prompt_tokens, whole.usage.completion_tokens],
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in stream),
        "several": len({choice.message.content for choice in several.choices}),
        "order": json.loads(order.choices[0].message.content),
        "text": text.choices[0].text,
        "errors": errors,
    }


def lm_eval(url: str, tokenizer: str) -> dict[str, Any]:
    """Log-likelihoods by `echo`, and generation until a text, by lm-evaluation-harness."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    def asked(kind: str, *arguments: Any) -> Any:
        return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)

    found: dict[str, Any] = {}
    for name in ("tiny", "replies", "words"):
        model = LocalCompletionsAPI(
            base_url=f"{url}/completions", model=name, tokenizer=tokenizer, tokenizer_backend="huggingface",
            num_concurrent=1, max_retries=1, max_length=250, add_bos_token=False,
        )  # fmt: skip
        pairs = [("Tea?", " yes"), ("Tea?", " no, milk"), ("A", "b")]
        found[name] = {
            "loglikelihood": model.loglikelihood([asked("loglikelihood", *pair) for pair in pairs]),
            "generated": model.generate_until(
                [asked("generate_until", "Tea?", {"until": ["zz"], "max_gen_toks": 6, "temperature": 0})]
            ),
        }
    return found


if __name__ == "__main__":
    _, what, address, folder = sys.argv
    print(json.dumps({"langchain": langchain, "litellm": litellm, "lm_eval": lm_eval}[what](address, folder)))
