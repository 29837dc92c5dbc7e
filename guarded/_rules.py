"""FailureRules: what an exception counts as, and which exceptions do not count at all."""

from __future__ import annotations

from sys import modules
from typing import TYPE_CHECKING, Any, TypeVar

from guarded._attributes import checked_function
from guarded._errors import InvalidConfiguration
from guarded._explanation import Explanation
from guarded._failure import FailureType, checked_type
from guarded._faults import report
from guarded._locks import ForkSafeLock
from guarded._matching import Action, Rule, checked_conditions, checked_rule, described
from guarded._packs import BUILT_IN, checked_names, read
from guarded._secrets import type_name
from guarded._verdicts import Table

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    Exceptions = type[BaseException] | str | Sequence[type[BaseException] | str]
    Modules = str | Sequence[str]
    Classifier = Callable[[BaseException], FailureType | str | None]

_ClassifierT = TypeVar("_ClassifierT", bound="Classifier")

# One lock for all: rules are declared rarely, and an object that holds a lock cannot be pickled.
_lock = ForkSafeLock()


class FailureRules:
    """Which `FailureType` an exception is, and which exceptions are ignored or go through a guard.

    A new set starts with the built-in packs: one for each of some seventy libraries, which is read when an exception
    first comes from that library; one of general rules for what libraries have in common; and one for Python's own
    exceptions. What is declared here comes before what packs say:

        rules = FailureRules()
        rules.map("ccxt.InsufficientFunds", FailureType.EXECUTION_ERROR)
        rules.map(HTTPError, "configuration_error", when={"response.status_code": [401, 403]})
        rules.ignore(FeedPaused)
        FailureTracker(rules=rules)

    **Which rule decides.** Classifiers are asked first, the later-declared before the earlier. Then the rules, and
    the first whose conditions hold decides:

    1. your own (`map`, `ignore`, `propagate`, `load`) before the packs';
    2. the nearer class in the exception's MRO before the farther: a rule for `ConnectionError` before one for
       `OSError`, with or without conditions. About a class that is not Python's own the general rules are asked
       between those for the classes of libraries and those for Python's own, whichever class they name; then what
       `otherwise` says, yours before a pack's; then what the class is called;
    3. for one class, the rule with more conditions before the one with fewer;
    4. the later-declared before the earlier.

    **Wrappers.** An exception that no rule matches, or whose rule is marked `wrapper = true` or `otherwise` in a pack,
    is worth what it wraps: the members of a group, its `__cause__`, or, where nothing or little is said of the
    exception itself, its `__context__`. Of several members the type that mends itself least stands: configuration,
    strategy, execution, data, connection, unknown; a rule for all of `Exception` comes after the members. `ignore` and
    `propagate` look at the raised exception alone; a group is ignored if all its leaves are, and goes through if one of
    them does.

    **Names.** A dotted name matches the class that it stands for in the loaded modules, the class that was defined
    under it, and what derives from either. Nothing is imported for it: `"ccxt.NetworkError"` costs nothing where ccxt
    is not used. A name that stands for nothing yet matches once a module is imported or gains that name; that it is
    given to another class later is not noticed.

    Args:
        packs: The names of the built-in packs to start with; `()` for none.

    Raises:
        InvalidConfiguration: There is no such pack.
    """

    __slots__ = ("_classifiers", "_own", "_packs", "_table")

    def __init__(self, packs: Sequence[str] = BUILT_IN) -> None:
        self._packs = packs if packs is BUILT_IN else checked_names(packs)
        self._own: tuple[Rule, ...] = ()
        self._classifiers: tuple[Classifier, ...] = ()
        self._table: Table | None = None

    def map(
        self,
        exception: Exceptions,
        failure_type: FailureType | str,
        *,
        message: str | None = None,
        when: Mapping[str, Any] | None = None,
        raised_in: Modules | None = None,
    ) -> Self:
        """Count exceptions under a type.

        Args:
            exception: A class, a dotted name, or several of them; derived classes are meant too.
            failure_type: The type, or its value such as `"data_error"`.
            message: A regular expression that is searched for in the first 10,000 characters of the exception's
                text, upper and lower case alike; of what long chains and wide groups hold, less is read.
            when: What attributes have to be, by their path: `"response.status_code"`, `"args.0"` (an item by number
                or key), `"code()"` (a method without arguments); with a bar between several paths one of them is
                enough. Expected is a value, a list of values, a `range`, `{"min": 500, "max": 599}`,
                `{"starts": ["08", "57P"]}`, or a function that accepts or refuses the value. Numbers match their text,
                members of enums their value or name; an `errno` may be named (`"EADDRINUSE"`). An attribute that
                cannot be read does not match.
            raised_in: A module or package, or several. The exception was raised in it: in the innermost frame, or in
                one reached from there outwards through frames of the standard library alone, or in the frame after
                those. `"own code"` is what is neither Python's nor of a package, `"settings code"` a module or
                package that is called config, settings or the like.

        Returns:
            The same rules, for the next call.

        Raises:
            InvalidConfiguration: One of these cannot work; the rules are unchanged.
        """
        kind = checked_type(failure_type, "failure_type of map()")
        conditions = checked_conditions(message, when, raised_in, "map()")
        return self._add(checked_rule(exception, Action.COUNT, conditions, "map()", kind))

    def ignore(
        self,
        exception: Exceptions,
        *,
        message: str | None = None,
        when: Mapping[str, Any] | None = None,
        raised_in: Modules | None = None,
    ) -> Self:
        """Let a guard return None for exceptions, and count nothing; the streak stays as it is.

        Args:
            exception: See `map`.
            message: See `map`.
            when: See `map`.
            raised_in: See `map`.

        Returns:
            The same rules, for the next call.

        Raises:
            InvalidConfiguration: One of these cannot work; the rules are unchanged.
        """
        conditions = checked_conditions(message, when, raised_in, "ignore()")
        return self._add(checked_rule(exception, Action.IGNORE, conditions, "ignore()"))

    def propagate(
        self,
        exception: Exceptions,
        *,
        message: str | None = None,
        when: Mapping[str, Any] | None = None,
        raised_in: Modules | None = None,
    ) -> Self:
        """Let exceptions go through a guard, uncounted.

        Args:
            exception: See `map`.
            message: See `map`.
            when: See `map`.
            raised_in: See `map`.

        Returns:
            The same rules, for the next call.

        Raises:
            InvalidConfiguration: One of these cannot work; the rules are unchanged.
        """
        conditions = checked_conditions(message, when, raised_in, "propagate()")
        return self._add(checked_rule(exception, Action.PROPAGATE, conditions, "propagate()"))

    def classifier(self, function: _ClassifierT) -> _ClassifierT:
        """Ask a function for the type of every exception, before any rule; also as a decorator.

        It is asked about the raised exception, and about what that wraps where nothing else is said of it. It names a
        type; whether an exception is ignored or goes through is for `ignore` and `propagate` alone. If it raises or
        returns something else, that is reported and the rules decide.

        Args:
            function: Takes an exception; returns a `FailureType`, or None for "cannot tell".

        Returns:
            The function.

        Raises:
            InvalidConfiguration: It cannot be called, or it is async.
        """
        checked_function(function, "classifier()")
        with _lock:
            self._classifiers = (*self._classifiers, function)
            self._table = None
        return function

    def load(self, source: str | os.PathLike[str] | Mapping[str, Any]) -> Self:
        """Add the rules of a TOML pack, as if they were declared here and now in the order of the file.

            pack = "mybot"

            [[rule]]
            exception = ["mybot.errors.VenueDown", "ConnectionError"]
            type = "connection_error"
            why = "the venue is away; it comes back"

            [[rule]]
            exception = "requests.HTTPError"
            when = { "response.status_code" = { min = 500, max = 599 } }
            type = "connection_error"

            [[rule]]
            exception = "mybot.errors.StepFailed"
            wrapper = true

        A rule has `exception` and one of `type`, `otherwise`, `wrapper` and `action` (`"ignore"` or `"propagate"`);
        `message`, `when`, `raised_in`, `called`, `named`, `why` and `name` as it likes. `called` is a regular
        expression for the name of a function on the traceback, `named` one for the words of the class's name.
        `otherwise` gives the type that stands where neither a general rule nor what the exception wraps says more.
        `wrapper = true` means that what the exception wraps decides where a rule matches that; together with a
        `type`, which then stands otherwise, the cause alone is looked at and not the context.

        Args:
            source: The file, or a mapping of the same form.

        Returns:
            The same rules, for the next call.

        Raises:
            InvalidConfiguration: The file cannot be read or holds what no pack may; the rules are unchanged.
        """
        return self._add(*read(source))

    def classify(self, error: BaseException) -> FailureType:
        """The type that an exception counts under.

        Raises:
            InvalidConfiguration: It is no exception.
        """
        table = self._table
        if table is not None and table.modules == len(modules):
            try:
                return table.types[type(error)]
            except (KeyError, TypeError):  # more than the class matters; or its metaclass makes classes without a hash
                pass
        return self.explain(error).failure_type

    def explain(self, error: BaseException) -> Explanation:
        """What becomes of an exception, and why.

        Raises:
            InvalidConfiguration: It is no exception.
        """
        if not isinstance(error, BaseException):
            raise InvalidConfiguration(f"explain(): expected an exception, not {error!r}")
        return self.judge(error)

    def copy(self) -> FailureRules:
        """A set of rules that starts with these and goes its own way."""
        twin = FailureRules(())
        twin._packs, twin._own, twin._classifiers = self._packs, self._own, self._classifiers
        return twin

    def asked_of(self, kind: type[BaseException]) -> list[str]:
        """The attributes, by their paths, at which rules that name a class, or a base of it outside of Python, look."""
        return self._tabulated().paths_for(kind)

    def exceptions_to_counting(self) -> list[str]:
        """The rules declared here that ignore exceptions or let them through, for the audit."""
        return [described(rule) for rule in self._own if rule.action is not Action.COUNT]

    def judge(self, error: BaseException) -> Explanation:
        """The same as `explain`, quicker and without raising: for guards and trackers, at every failure."""
        try:
            table = self._table
            if table is None or table.modules != len(modules):
                table = self._tabulated()
            return table.verdicts.get(type(error)) or table.explain(error)
        except Exception as fault:  # noqa: BLE001  # a metaclass may raise anything
            report("the rules failed; the failure counts as unknown_error", fault)
            action = Action.COUNT if issubclass(type(error), Exception) else Action.PROPAGATE
            return Explanation(action, FailureType.UNKNOWN_ERROR, type_name(type(error)), reason="the rules failed")

    def _add(self, *rules: Rule) -> Self:
        with _lock:
            self._own = (*self._own, *rules)
            self._table = None
        return self

    def _tabulated(self) -> Table:
        with _lock:
            table = self._table
            if table is None or not table.is_current():
                table = self._table = Table(self._own, self._packs, self._classifiers)
            return table

    def __getstate__(self) -> tuple[object, ...]:
        return self._packs, self._own, self._classifiers

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._packs, self._own, self._classifiers = state
        self._table = None
