"""What is said of a model that spends its output on thoughts."""

from redistill.llm.response import Reading

WAY_OUT = (
    "raise max_completion_tokens in the teacher's body, or have it think less there "
    "(reasoning_effort, or chat_template_kwargs: {enable_thinking: false}, as the server has it)"
)


def spent(reading: Reading) -> str:
    """Say how the output of *reading* was spent on thoughts, and the way out; empty if not so."""
    cut_off = reading.outcome == "truncated" and reading.thoughts
    if reading.outcome != "only_reasoning" and not cut_off:
        return ""
    return f"{reading.outcome.replace('_', ' ')} ({reading.detail}): {WAY_OUT}"
