"""Record errors that arrive as events instead of exceptions, as with ib_async: python examples/ib_events.py."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

from guarded import FailureTracker, FailureType

logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stdout)


@dataclass(frozen=True)
class Contract:
    """As much of ib_async's contract as is looked at here."""

    symbol: str


# TWS sends everything through its error event. Most of it is news: data farms that are connected (2104, 2106, 2158),
# asleep until they are asked (2107, 2108) or on their way (2119), an order that you cancelled yourself (202), delayed
# instead of live quotes (10167). News must not count, or every morning begins with a halt.
NEWS = {202, 2104, 2106, 2107, 2108, 2119, 2158, 10167}
RESTORED = {1101, 1102}
TYPES = {
    FailureType.CONNECTION_ERROR: {502, 504, 1100, 2103, 2105, 2110, 2157},  # 21xx, too: a farm that is broken
    FailureType.CONFIGURATION_ERROR: {203, 354},  # not allowed, or not subscribed, for this account
    FailureType.EXECUTION_ERROR: {201},
    FailureType.DATA_ERROR: {162, 200},
}
LINK = "connection"  # failures of the link are about no strategy and no symbol

tracker = FailureTracker()


def on_error(req_id: int, code: int, text: str, contract: Contract | None) -> None:
    """Take ib_async's errorEvent(reqId, errorCode, errorString, contract). Most messages have no contract."""
    symbol = LINK if contract is None else contract.symbol
    if code in NEWS:
        return
    if code in RESTORED:
        tracker.record_success("IB", LINK)  # no guarded call does this: events have no other way to end a streak
        return
    kind = next((kind for kind, codes in TYPES.items() if code in codes), FailureType.UNKNOWN_ERROR)
    context = {"req_id": req_id, "code": code}
    tracker.record_failure("IB", symbol, error=f"{code}: {text}", failure_type=kind, additional_context=context)


MESSAGES: list[tuple[int, int, str, Contract | None]] = [
    (-1, 2104, "Market data farm connection is OK:usfarm", None),
    (-1, 2106, "HMDS data farm connection is OK:ushmds", None),
    (-1, 2158, "Sec-def data farm connection is OK:secdefil", None),
    (7, 200, "No security definition has been found for the request", Contract("GOOGL")),
    (-1, 1100, "Connectivity between IB and TWS has been lost.", None),
    (-1, 1102, "Connectivity between IB and TWS has been restored - data maintained.", None),
    (12, 202, "Order Canceled - reason:", Contract("IBM")),
    (13, 201, "Order rejected - reason: insufficient margin", Contract("IBM")),
    (-1, 2103, "Market data farm connection is broken:usfarm", None),
    (-1, 1100, "Connectivity between IB and TWS has been lost.", None),
]


def main() -> None:
    """Send a morning's messages; with ib_async: ib.errorEvent += on_error."""
    for message in MESSAGES:
        on_error(*message)
        print(f"{message[1]:5} {message[2]:70} streak {tracker.consecutive_failures}")
    print("\nBy type:", ", ".join(f"{kind} {count}" for kind, count in tracker.type_failures.items()))
    print(f"Halted: {tracker.halt_reason}")


if __name__ == "__main__":
    main()
