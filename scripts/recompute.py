#!/usr/bin/env python3
"""Recomputes a log's books from `tiffin events export`, without any of the product's code.

    tiffin events export --store sqlite:DIR | scripts/recompute.py
    scripts/recompute.py EXPORT --compare VIEWS.json --acknowledged ORDERS.txt --finished

Reads JSON Lines, one event a line, with an optional header first and an optional manifest last. Prints
one JSON object: orders by status, refusals by code, takings and portions by dish, balances by ledger
account, portions by offer.
While it reads it checks what must hold at every event, and it lists what does not under `problems`.

--compare       a JSON file with some of the same keys, from the product's views; lists differences
--acknowledged  lines of `ORDER` or `ORDER STATUS` that a client was told; each must be there
--finished      nothing may be half-done

Exit code: 0 all is well, 1 a problem or difference, 2 the input cannot be read.
Python's standard library only.
"""

import argparse
import json
import sys

from books import MOST_SHOWN, Recomputed, Unreadable

COMPARED = ("orders", "refused", "takings", "balances", "offers", "totals")
"""Sections that the product's views have too."""


def differences(ours, theirs, path=""):
    """Where two trees differ. A number that one side does not have is zero: views may keep no such row."""
    if isinstance(ours, dict) or isinstance(theirs, dict):
        ours, theirs = ours or {}, theirs or {}
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            yield f"{path}: recomputed {ours}, the product says {theirs}"
            return
        for key in sorted({*ours, *theirs}):
            yield from differences(ours.get(key), theirs.get(key), f"{path}/{key}")
    elif isinstance(ours or theirs, str):
        # The currency of a row that has nothing else.
        if ours is not None and theirs is not None and ours != theirs:
            yield f"{path}: recomputed {ours}, the product says {theirs}"
    elif (ours or 0) != (theirs or 0):
        yield f"{path}: recomputed {ours or 0}, the product says {theirs or 0}"


def compare(result, views):
    sections = [section for section in COMPARED if section in views]
    if not sections:
        raise Unreadable(f"nothing to compare: the file has none of {', '.join(COMPARED)}")
    return [one for section in sections for one in differences(result[section], views[section], section)]


def unacknowledged(books, lines):
    """What a client was told and the log does not have."""
    by_id = {order_id: order for (_, order_id), order in books.orders.items()}
    for line in filter(None, map(str.strip, lines)):
        order_id, _, told = line.partition(" ")
        order = by_id.get(order_id)
        if order is None:
            yield f"order {order_id} was acknowledged and is not there"
        elif told == "CONFIRMED" and not order.was_confirmed:
            yield f"order {order_id} was acknowledged as confirmed and is {order.status}"
        elif told not in ("", "CONFIRMED", "PLACED") and order.status != told:
            yield f"order {order_id} was acknowledged as {told} and is {order.status}"


def main(arguments=None, out=sys.stdout):
    parser = argparse.ArgumentParser(description="Recomputes the books from an export of the log.")
    parser.add_argument("export", nargs="?", default="-", help="JSON Lines; - reads standard input")
    parser.add_argument("--compare", metavar="FILE", help="JSON from the product's views")
    parser.add_argument("--acknowledged", metavar="FILE", help="lines of ORDER or ORDER STATUS")
    parser.add_argument("--finished", action="store_true", help="nothing may be half-done")
    options = parser.parse_args(arguments)
    books = Recomputed()
    try:
        if options.export == "-":
            books.read(sys.stdin)
        else:
            with open(options.export, encoding="utf-8") as lines:
                books.read(lines)
        result = books.result()
        bad = result["problems"] > 0 or (options.finished and result["unfinished"] > 0)
        if options.compare:
            with open(options.compare, encoding="utf-8") as file:
                found = compare(result, json.load(file))
            result["differences"], result["differences_first"] = len(found), found[:MOST_SHOWN]
            bad = bad or bool(found)
        if options.acknowledged:
            with open(options.acknowledged, encoding="utf-8") as lines:
                lost = list(unacknowledged(books, lines))
            result["lost"], result["lost_first"] = len(lost), lost[:MOST_SHOWN]
            bad = bad or bool(lost)
    except (OSError, ValueError, Unreadable) as error:
        print(f"recompute: {error}", file=sys.stderr)
        return 2
    json.dump(result, out, ensure_ascii=False, indent=2)
    out.write("\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
