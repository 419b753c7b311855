"""Which variables hold secrets, and who gets to see them."""

import pytest

from redistill.console.exceptions import RefusedError
from redistill.llm import headers
from redistill.llm.headers import Variable
from redistill.llm.secret import secret_in
from redistill.settings.secrets import without_keys


def test_a_stage_that_calls_no_teacher_sees_neither_the_key_nor_a_header_s_secret(
    monkeypatch: pytest.MonkeyPatch,
):
    for name in ("A_KEY", "A_HEADER", "A_QUERY", "OTHER"):
        monkeypatch.setenv(name, "value")
    settings = {
        "seed": 1,
        "openai": {
            "key": "A_KEY",
            "headers": {"api-key": {"env": "A_HEADER"}, "X-Title": "t"},
            "query": {"code": {"env": "A_QUERY"}, "v": "1"},
        },
    }

    kept = without_keys(settings)

    assert kept is not None
    assert "OTHER" in kept
    assert not {"A_KEY", "A_HEADER", "A_QUERY"} & set(kept)
    assert without_keys({"openai": {"key": None, "headers": None}}) is None


def test_headers_are_read_from_the_environment_and_what_is_secret_of_them_is_known(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("A_HEADER", "Token a-secret-of-mine")
    some = {"Authorization": Variable(env="A_HEADER"), "X-Title": "t"}

    values = headers.read(some, "openai.headers")

    assert values == {"Authorization": "Token a-secret-of-mine", "X-Title": "t"}
    assert set(headers.hidden(some, values)) == {
        "Token a-secret-of-mine", "Token", "a-secret-of-mine",
    }  # fmt: skip
    assert headers.plain(some) == {"X-Title": "t"}


@pytest.mark.parametrize(
    ("name", "code"), [("sk-0123456789abcdef", 78), ("1", 78), ("NOT_SET", 77), ("STRANGE", 77)]
)
def test_a_key_that_cannot_be_read_is_refused_without_being_repeated(
    name: str, code: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STRANGE", "a\x07key")

    with pytest.raises(RefusedError) as refusal:
        secret_in(name, "openai.key")

    assert refusal.value.code == code
    assert "0123456789abcdef" not in str(refusal.value)
    assert secret_in(None, "openai.key") == ""
