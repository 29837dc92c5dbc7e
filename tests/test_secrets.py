"""Secrets: what is masked, what is left alone, and what makes a text fit to be written down."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarded import InvalidConfiguration, _faults, _secrets, set_secret_patterns
from guarded._secrets import clean, encodable, is_secret_name, mask, mask_source, text_of, type_name

MASKED = {
    # with an equals sign
    "GET /order?symbol=BTC&signature=c0ffee&recvWindow=5": "GET /order?symbol=BTC&signature=***&recvWindow=5",
    "apiKey=abc123": "apiKey=***",
    "API_KEY=abc123, side=buy": "API_KEY=***, side=buy",
    "api-key=abc123;x=1": "api-key=***;x=1",
    "(token=abc123)": "(token=***)",
    "access_token=abc123": "access_token=***",
    "client_secret=abc123": "client_secret=***",
    "aws_secret_access_key=abc123": "aws_secret_access_key=***",
    "private_key=abc123": "private_key=***",
    "listenKey=abc123": "listenKey=***",
    "Uid=sa;Pwd=hunter2;": "Uid=sa;Pwd=***;",
    "passphrase = hunter2": "passphrase = ***",
    "token == 'abc123'": "token == '***'",
    # with a colon
    "password: hunter2": "password: ***",
    "X-MBX-APIKEY: abc123\nHost: x": "X-MBX-APIKEY: ***\nHost: x",
    "OK-ACCESS-KEY: abc123": "OK-ACCESS-KEY: ***",
    "OK-ACCESS-SIGN: c0ffeec0ffeec0ffee": "OK-ACCESS-SIGN: ***",
    # quoted
    '{"api_key": "abc", "symbol": "BTC"}': '{"api_key": "***", "symbol": "BTC"}',
    '{"secret":"a\\"b c","x":1}': '{"secret":"***","x":1}',
    "{'token': 'abc', 'n': 1}": "{'token': '***', 'n': 1}",
    "{'password': \"it's\"}": "{'password': \"***\"}",
    '{\\"apiKey\\":\\"abc\\",\\"symbol\\":\\"BTC\\"}': '{\\"apiKey\\":\\"***\\",\\"symbol\\":\\"BTC\\"}',
    "Client(api_key=b'abc', secret=Key('x'))": "Client(api_key=b'***', secret=Key('***'))",
    "ValueError('password: abc')": "ValueError('password: ***')",
    '"token=abc" and "x"': '"token=***" and "x"',
    '"token": "never closed': '"token": "***',
    # headers
    "Authorization: Bearer xyz": "Authorization: ***",
    "authorization: xyz, Accept: json": "authorization: ***, Accept: json",
    "{'Authorization': 'Basic abc=='}": "{'Authorization': '***'}",
    "{b'Authorization': b'Basic abc=='}": "{b'Authorization': b'***'}",
    "sent BEARER abcdefgh12345678 to the server": "sent BEARER *** to the server",
    # addresses
    "https://user:pass@host/path": "https://user:***@host/path",
    "redis://:p@ss:word@host:6379": "redis://:***@host:6379",
    # letters whose lower case is longer
    "İİ token=abc123 İ PASSWORD=x": "İİ token=*** İ PASSWORD=***",
}

INNOCENT = [
    "token expired",
    "unknown symbol",
    "secretary: Bob",
    "invalid signature",
    "Signature for this request is not valid.",
    'binance {"code":-2014,"msg":"API-key format invalid."}',
    "max_tokens=100",
    "token_id: 5",
    "got an unexpected keyword argument 'token'",
    'token=""',
    "Bearer authentication failed: 401",
    "https://api.binance.com:443/api?symbol=BTC",
    "user@example.com: unknown",
    "position sign=-1",
    "design: abcdefghijklmnopqrstuvwxyz",
    "Length mismatch: Expected axis has 5 elements",
    "",
]


@pytest.mark.parametrize(("text", "expected"), MASKED.items())
def test_secrets_are_masked(text: str, expected: str) -> None:
    """The value of a secret becomes ***, and everything around it stays."""
    assert mask(text) == expected


@pytest.mark.parametrize("text", MASKED)
def test_masking_twice_changes_nothing_more(text: str) -> None:
    """What has been masked is left as it is."""
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_words_are_left_alone(text: str) -> None:
    """A word that only speaks of secrets is no secret."""
    assert mask(text) is text


@given(st.text(), st.from_regex(r"[A-Za-z0-9]{6,20}", fullmatch=True), st.sampled_from([" ", "\n", ", ", "&"]))
def test_a_secret_does_not_survive_in_any_text(before: str, secret: str, after: str) -> None:
    """Whatever stands around `signature=...`, the value is gone."""
    marked = f"{secret}Zq7"
    masked = mask(f"{before} signature={marked}{after}")
    assert masked.count(marked) == before.count(marked)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "part",
    [
        "token",
        "token=",
        'token="',
        "token=\\",
        "token ",
        "token=a.b.",
        "token=(",
        "token=a ",
        "sign=",
        "api_key ",
        "://",
        "://a:b",
        "://a:",
        "authorization: ",
        "bearer ",
        "secret_access_",
        "\\",
        '"',
        " ",
    ],
)
def test_masking_takes_linear_time(part: str) -> None:
    """A megabyte of whatever a pattern stumbles over is searched at once; in quadratic time it would take hours."""
    for text in (part * (1_000_000 // len(part)), part + part[-1] * 1_000_000):
        assert isinstance(mask(text), str)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('client = Client(api_key="abc", timeout=5)', 'client = Client(api_key="***", timeout=5)'),
        ("password = 'hunter2'", "password = '***'"),
        ("token = read_token(path)", "token = read_token(path)"),
        ("get('https://bob:pw@x.com/q?token=zzz')", "get('https://bob:***@x.com/q?token=***')"),
        ('headers={"Authorization": "Bearer eyJ"}', 'headers={"Authorization": "***"}'),
        ("raise ValueError('token expired')", "raise ValueError('token expired')"),
        ("signature: str = sign(body)", "signature: str = sign(body)"),
    ],
)
def test_source_loses_its_literals_only(line: str, expected: str) -> None:
    """In a line of source the literals of secrets are masked; calls and names stay readable."""
    assert mask_source(line) == expected


@pytest.mark.parametrize(
    "key",
    [
        "apiKey",
        "api_key",
        "API-KEY",
        "X-MBX-APIKEY",
        "APCA-API-KEY-ID",
        "secret",
        "clientSecret",
        "secret_key",
        "token",
        "access_token",
        "password",
        "db_password",
        "passphrase",
        "Authorization",
        "signature",
        "OK-ACCESS-SIGN",
        "privateKey",
    ],
)
def test_names_of_secrets(key: str) -> None:
    """The usual spellings are known, with anything before them."""
    assert is_secret_name(key)


@pytest.mark.parametrize("key", ["symbol", "key", "signal", "sign", "tokens", "token_id", "secretary", "design", ""])
def test_names_of_no_secrets(key: str) -> None:
    """Names that only resemble those of secrets are none."""
    assert not is_secret_name(key)


def test_a_pattern_is_masked_as_a_whole_or_by_its_group() -> None:
    """A group named `secret` is what is replaced; without one it is the whole match."""
    with set_secret_patterns(r"account (?P<secret>DU[0-9]+)", r"\b[0-9a-f]{8}\b"):
        assert mask("account DU12345 in deadbeef") == "account *** in ***"
        assert mask_source("use('deadbeef')") == "use('***')"
        assert mask("token=abc") == "token=***"


def test_patterns_are_restored_at_the_end_of_the_block() -> None:
    """The block's patterns replace those before it, which come back."""
    with set_secret_patterns("alpha"):
        with set_secret_patterns("beta"):
            assert mask("alpha beta") == "alpha ***"
        assert mask("alpha beta") == "*** beta"
        with set_secret_patterns():
            assert mask("alpha beta") == "alpha beta"
    assert mask("alpha beta") == "alpha beta"


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("x*", "axxb", "a***b"),
        ("(?P<secret>x?)y", "y and xy", "y and ***y"),
        ("a|(?P<secret>b)", "a b", "a ***"),
    ],
)
def test_an_empty_match_masks_nothing(pattern: str, text: str, expected: str) -> None:
    """Where a pattern or its group matches nothing, nothing is put in."""
    with set_secret_patterns(pattern):
        assert mask(text) == expected


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(?P<secret>", "*"])
def test_a_broken_pattern_is_refused(pattern: str) -> None:
    """The error names the pattern and says what to do, and the patterns stay as they were."""
    with set_secret_patterns("alpha"):
        with pytest.raises(InvalidConfiguration, match=r"re\.escape") as caught:
            set_secret_patterns("beta", pattern)
        assert repr(pattern) in str(caught.value)
        assert mask("alpha beta") == "*** beta"


@pytest.mark.parametrize("pattern", [None, 5, b"abc", re.compile("abc")])
def test_a_pattern_that_is_no_text_is_refused(pattern: Any) -> None:
    """Only texts are taken."""
    with pytest.raises(InvalidConfiguration, match="expected regular expressions as text"):
        set_secret_patterns(pattern)


def test_a_pattern_that_raises_hides_the_whole_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a custom pattern cannot do its work, nothing is shown rather than a secret."""

    class Exhausted:
        groupindex: dict[str, int] = {}  # noqa: RUF012  # as a compiled pattern has it

        def finditer(self, text: str) -> Any:
            raise MemoryError(text)

    monkeypatch.setattr(_secrets, "_custom", (Exhausted(),))
    before = _faults.count()
    assert mask("anything at all") == "***"
    assert _faults.count() > before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("1234567890", "1234567890"),
        ("12345678901", "1234567890... [1 more characters]"),
        ("\ud800x", "?x"),
        ("café", "café"),
        ("token=abcdefghijkl", "token=***"),
    ],
)
def test_clean_texts_are_bounded_masked_and_encodable(text: str, expected: str) -> None:
    """What is left out of a text is counted, what cannot be encoded is replaced, secrets are masked first."""
    assert clean(text, 10) == expected


def test_a_text_that_is_cut_shows_no_half_of_a_secret() -> None:
    """A password that the cut separates from the @ behind it is dropped with the end of the text."""
    for length in range(1_950, 2_050):
        text = "x" * (length - 30) + " https://user:Hunter2Hunter2@host/ " + "y" * 5_000
        assert "Hunter2" not in clean(text, 1_000)


def test_a_text_that_shrinks_when_masked_shows_no_half_of_a_secret() -> None:
    """Where masking makes room, the room is not filled from beyond the point where half a secret may begin."""
    text = f"token={'a' * 1_500} https://user:{'Hunter2' * 70}@host/"
    shown = clean(text, 1_000)
    assert shown.startswith("tok")
    assert "Hunter" not in shown


def test_the_number_of_characters_left_out_is_exact() -> None:
    """What is shown and what is left out add up to the text."""
    for length in (1_001, 1_999, 2_000, 2_001, 50_000):
        shown = clean("x" * length, 1_000)
        kept, _, rest = shown.partition("... [")
        assert len(kept) == 1_000
        assert int(rest.split()[0]) == length - len(kept)


class Raising:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        return 5  # type: ignore[return-value]


def test_a_text_that_cannot_be_had_is_a_fixed_one() -> None:
    """An object whose method raises or returns no text is told by a fixed text, and the fault is reported."""
    before = _faults.count()
    assert text_of(Raising(), 10) == "<no text: its __str__ raised>"
    assert text_of(Raising(), 10, repr) == "<no text: its __repr__ raised>"
    assert _faults.count() == before + 2


def test_a_text_of_a_class_of_its_own_becomes_a_plain_one() -> None:
    """A subclass of str, which could do anything, is not kept."""

    class Odd(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

        def __len__(self) -> int:
            raise RuntimeError("no length")

    text = text_of(Odd("abc"), 10)
    assert type(text) is str
    assert text == "abc"


def test_encodable_texts_stay_as_they_are() -> None:
    """Only what UTF-8 cannot encode is replaced."""
    assert encodable("5 € 日本") == "5 € 日本"
    assert encodable("a\udcffb") == "a?b"


def test_the_name_of_a_class_is_the_real_one() -> None:
    """A metaclass cannot put something else in its place, and it is bounded."""

    class Meta(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise RuntimeError("no name")

    class Odd(metaclass=Meta):
        pass

    assert type_name(Odd) == "Odd"
    assert type_name(type("x" * 1_000, (), {})) == "x" * 200
