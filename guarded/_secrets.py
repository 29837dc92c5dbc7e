"""Secrets: what must never be written down, and how a text becomes fit to be."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from guarded._errors import InvalidConfiguration
from guarded._faults import report
from guarded._restore import restoring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guarded._restore import Restore

MASK = "***"

# The names under which secrets travel; whatever comes before them (`client_secret`, `X-MBX-APIKEY`) does not matter.
# Everything here is searched for in lower case, because `re` is several times slower at ignoring it.
_NAME = (
    r"(?:signature|api[ _-]?key(?:[ _-]?id)?|access[ _-]?key(?:[ _-]?id)?|private[ _-]?key|listen[ _-]?key"
    r"|secret(?:[ _-]?(?:access[ _-]?)?key)?|token|password|passwd|pwd|passphrase)"
)
_ASSIGNED = r"\\*+[\"']?[ \t]*+[=:]{1,2}+[ \t]*+"
_CALLED = r"(?:[\w.]++\(|[bfru]{0,2}+)"  # the call in token=Token('...'), the b of b'...'
_QUOTED = (
    rf'{_CALLED}"((?:[^"\\]|\\.)++)'
    rf"|{_CALLED}'((?:[^'\\]|\\.)++)"
    rf"|{_CALLED}\\++[\"']([^\"'\\]++)"  # JSON quoted inside another text
)
_BARE = rf"(?!{_CALLED}\\*+[\"'])([^\s\"'&,;(){{}}\[\]<>][^\s\"'&,;)}}\]>]*+)"

# One group each takes part in a match, and holds the secret. Possessive quantifiers keep the search linear.
_IN_SOURCE = rf"(?:{_NAME}|authorization){_ASSIGNED}(?:{_QUOTED})"
_LITERAL = r"""\"(?:[^"\\]|\\.)*+\"|'(?:[^'\\]|\\.)*+'"""
_IN_TEXT = (
    rf"{_NAME}{_ASSIGNED}(?:{_QUOTED}|{_BARE})"
    rf"|(?<![a-z])sign{_ASSIGNED}\\*+[\"']?([\w+/=%-]{{16,}}+)"  # not the sign of a position
    r"|authorization\\*+[\"']?[ \t]*+[=:][ \t]*+(?:b(?=[\"']))?\\*+[\"']?([^\s\"',;\\]++(?:[ \t]++[^\s\"',;\\]++)?+)"
    r"|bearer[ \t]++([\w.~+/=-]{16,}+)"
    r"|://[^\s/:@\"']*+:([^\s/\"']+)@"
)
_HINTS = ("sign", "key", "token", "secret", "pass", "pwd", "auth", "bearer", "://")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}

_SECRET_NAME = rf"(?:{_NAME}|authorization|[_-]sign)\Z"

_custom: tuple[re.Pattern[str], ...] = ()

# A text that was cut may end in half a secret, which no pattern finds; as much as this is dropped after masking.
_CUT_MARGIN = 500


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern, ready when it is first needed: that takes a millisecond, which an import need not wait for."""
    return re.compile(pattern, re.DOTALL)


def mask(text: str) -> str:
    """Replace the secrets in a text by `***`.

    Found are the values of signatures, API keys, access and private keys, tokens, secrets, passwords and passphrases
    in the forms `key=value`, `key: value` and `"key": "value"`; what follows `Authorization:`; bearer tokens; the
    password of `scheme://user:password@host`; and what `set_secret_patterns` added. The words by themselves
    ("token expired", "invalid signature") are left alone.

    Args:
        text: Any text, such as an exception's.

    Returns:
        The text without secrets; the same text if there are none.
    """
    return _masked(text, _compiled(_IN_TEXT))


def mask_source(line: str) -> str:
    """Replace the secrets that a line of source code holds in literals by `***`; names and calls are left alone."""
    return _compiled(_LITERAL).sub(lambda literal: mask(literal.group()), _masked(line, _compiled(_IN_SOURCE)))


def is_secret_name(key: str) -> bool:
    """Whether what stands under this key of a mapping is a secret: `apiKey`, `client_secret`, `OK-ACCESS-SIGN`."""
    return _compiled(_SECRET_NAME).search(key.lower()) is not None


def set_secret_patterns(*patterns: str) -> Restore[tuple[re.Pattern[str], ...]]:
    """Mask more than the built-in secrets, in the whole process; as a context manager: until the block ends.

    The patterns replace those of earlier calls; the built-in ones always stay. They are looked for in the texts of
    exceptions and in the values of a failure's additional context when the record is made, so set them before trading
    starts: records that exist are not changed. A pattern costs its search in every message, and one that backtracks
    without end stops the thread that it runs in.

    Args:
        *patterns: Regular expressions. If one has a group named `secret`, what that group matches is replaced by
            `***`, else the whole match is. None at all: the built-in ones only.

    Returns:
        A context manager that restores the patterns that were set before.

    Raises:
        InvalidConfiguration: A pattern is not a text or not a regular expression; nothing has been changed then.

    Example:
        set_secret_patterns(r"account (?P<secret>DU[0-9]{6})", r"[0-9a-f]{64}")
    """
    previous = _custom
    _put(tuple(_custom_pattern(pattern) for pattern in patterns))
    return restoring(_put, previous)


def _put(patterns: tuple[re.Pattern[str], ...]) -> None:
    global _custom  # noqa: PLW0603  # one set for the process
    _custom = patterns


def _custom_pattern(pattern: object) -> re.Pattern[str]:
    if not isinstance(pattern, str):
        raise InvalidConfiguration(f"set_secret_patterns({pattern!r}): expected regular expressions as text")
    try:
        return re.compile(pattern)
    except Exception as error:
        raise InvalidConfiguration(
            f"set_secret_patterns({pattern!r}): not a regular expression: {error}. "
            "Mend it, or use re.escape() for a text that is meant literally."
        ) from error


def _masked(text: str, built_in: re.Pattern[str]) -> str:
    lowered = text.lower()
    # Two quick looks, which spare most texts the search.
    if (":" in lowered or "=" in lowered or "bearer" in lowered) and any(hint in lowered for hint in _HINTS):
        searched = lowered if len(lowered) == len(text) else text.translate(_LOWER)
        text = _replaced(text, (match.span(match.lastindex or 0) for match in built_in.finditer(searched)))
    return _mask_custom(text) if _custom else text


def _mask_custom(text: str) -> str:
    try:
        for pattern in _custom:
            group = "secret" if "secret" in pattern.groupindex else 0
            text = _replaced(text, (match.span(group) for match in pattern.finditer(text)))
    except Exception as error:  # noqa: BLE001  # such as MemoryError
        report("a pattern of set_secret_patterns raised; the whole text is masked", error)
        return MASK
    return text


def _replaced(text: str, spans: Iterable[tuple[int, int]]) -> str:
    parts = []
    done = 0
    for start, end in spans:
        if start < end:
            parts += [text[done:start], MASK]
            done = end
    return "".join([*parts, text[done:]]) if parts else text


def encodable(text: str) -> str:
    """The text with what UTF-8 cannot encode (lone surrogates) replaced by question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def clean(text: str, limit: int) -> str:
    """Make a text fit to be written down: without secrets, of bounded length, and encodable.

    Args:
        text: Any text.
        limit: The characters to keep; if more are left out, their number is put at the end.
    """
    if len(text) <= limit:
        return encodable(mask(text))
    head = mask(text[: 2 * limit])
    unseen = len(text) - 2 * limit
    kept = head[:limit] if unseen <= 0 else head[: max(0, min(limit, len(head) - _CUT_MARGIN))]
    left_out = len(head) - len(kept) + max(0, unseen)
    return encodable(f"{kept}... [{left_out} more characters]" if left_out else kept)


def text_of(value: object, limit: int, convert: Callable[[object], str] = str) -> str:
    """Write a user's object as clean text, whatever its methods do.

    Args:
        value: Anything.
        limit: The characters to keep.
        convert: `str` or `repr`.

    Returns:
        The text; a fixed one if the object's method raised or returned something else.
    """
    try:
        text = convert(value)
        plain = text if type(text) is str else str.__str__(text)
    except Exception as error:  # noqa: BLE001  # a hostile object may raise anything
        method = f"__{convert.__name__}__"
        report(f"{method} of a {type_name(type(value))} raised; its text is left out", error)
        return f"<no text: its {method} raised>"
    return clean(plain, limit)


# The real name, which a metaclass cannot override.
_name_of = type.__dict__["__name__"].__get__


def type_name(kind: type) -> str:
    """A class's own name, without its module."""
    name: str = _name_of(kind)
    return name[:200]
