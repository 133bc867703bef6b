"""Tests of recompute.py over small hand-made exports."""

import io
import json
import os
import tempfile
import unittest

import recompute
from books import Recomputed

TENANT, CANTEEN, DINER, SERVING = "tenant-1", "canteen-1", "diner-1", "serving-1"
RICE, SOUP = "dish-rice", "dish-soup"


def cny(minor):
    return {"minor": minor, "currency": "CNY"}


class Export:
    """Writes events with the positions, versions and times that they should have."""

    def __init__(self):
        self.rows = []
        self.versions = {}

    def add(self, kind, key, *payloads):
        command = f"command-{len(self.rows)}"
        for payload in payloads:
            name = payload if isinstance(payload, str) else next(iter(payload))
            version = self.versions[kind, key] = self.versions.get((kind, key), 0) + 1
            aggregate = "account" if kind in ("wallet", "subsidy", "company") else kind
            self.rows.append(
                {
                    "position": len(self.rows) + 1,
                    "stream": {"tenant": TENANT, "kind": kind, "key": key},
                    "version": version,
                    "type": f"{aggregate}.{name}",
                    "schema_version": 1,
                    "payload": payload,
                    "occurred_at": "2026-11-23T03:00:00Z",
                    "recorded_at": f"2026-11-23T03:00:00.{len(self.rows):06}Z",
                    "metadata": {"command": command, "digest": None, "actor": DINER},
                }
            )
        return self

    def lines(self):
        header = {"header": {"format": 2, "log": "log-1", "from": 1}}
        manifest = {"manifest": {"count": len(self.rows)}}
        return [json.dumps(row) for row in [header, *self.rows, manifest]]


def opened():
    """A serving of 5 rice at 12.00 and 1 soup at 3.00, and a wallet with 100.00."""
    offers = [{"dish": RICE, "portions": 5}, {"dish": SOUP, "portions": 1}]
    export = Export()
    export.add("menu", CANTEEN, {"Opened": {"name": "North", "zone": "Asia/Shanghai", "currency": "CNY"}})
    export.add("serving", SERVING, {"Published": {"canteen": CANTEEN, "offers": offers}})
    export.add(
        "wallet",
        DINER,
        {"Opened": {"currency": "CNY"}},
        {"Deposited": {"deposit": "deposit-1", "amount": cny(10_000)}},
    )
    return export


def placed(export, order, rice=1, soup=0, terms="balances", tax=None):
    taxed = {"tax": tax} if tax else {}
    lines = [
        {"dish": RICE, "name": "rice", "quantity": rice, "unit_price": cny(1200), **taxed},
        {"dish": SOUP, "name": "soup", "quantity": soup, "unit_price": cny(300)},
    ]
    lines = [line for line in lines if line["quantity"]]
    total = cny(1200 * rice + 300 * soup)
    placement = {"diner": DINER, "canteen": CANTEEN, "serving": SERVING, "lines": lines, "total": total, "terms": terms}
    export.add("order", order, {"Placed": placement})
    return total


def reserved(export, order, rice=1, soup=0):
    portions = [{"dish": dish, "quantity": n} for dish, n in ((RICE, rice), (SOUP, soup)) if n]
    export.add("serving", SERVING, {"Reserved": {"order": order, "diner": DINER, "portions": portions}})


def bought(export, order, rice=1, soup=0, tax=None):
    """A whole checkout from the wallet."""
    total = placed(export, order, rice, soup, tax=tax)
    reserved(export, order, rice, soup)
    tender = {"source": {"account": f"wallet:{DINER}"}, "amount": total, "why": "rest"}
    started = {"order": order, "diner": DINER, "total": total, "tenders": [tender]}
    export.add("payment", order, {"Started": started})
    export.add("wallet", DINER, {"Held": {"hold": f"{order}/0", "amount": total}})
    export.add("payment", order, "Held")
    export.add("order", order, "Confirmed")
    export.add("wallet", DINER, {"Captured": {"hold": f"{order}/0", "amount": total}})
    export.add("payment", order, "Captured")
    return export


def refunded(export, order, minor, lines, source="prepaid", cancelled=False, unearned=None):
    begun = {"refund": f"refund-{order}", "amount": cny(minor), "from": source}
    given_up = {"unearned": unearned} if unearned else {}
    of_order = {"RefundBegun": {**begun, **given_up, "lines": lines, "reason": "complaint"}}
    events = [{"Cancelled": {"reason": "cancelled_by_diner"}}, of_order] if cancelled else [of_order]
    export.add("order", order, *events)
    export.add("payment", order, {"RefundBegun": {**begun, "parts": [{"tender": 0, "amount": cny(minor)}]}})
    credit = {"refund": f"refund-{order}", "hold": f"{order}/0", "amount": cny(minor), "from": source}
    export.add("wallet", DINER, {"Refunded": credit})
    export.add("payment", order, {"RefundSettled": {"refund": f"refund-{order}"}})
    export.add("order", order, {"RefundSettled": {"refund": f"refund-{order}"}})
    return export


def result_of(export):
    books = Recomputed()
    books.read(export.lines())
    return books.result()


class Figures(unittest.TestCase):
    def test_a_lunch_with_a_meal_a_cancellation_and_a_refusal(self):
        export = bought(opened(), "order-1", rice=2, soup=1)
        export.add("order", "order-1", {"Readied": {"code": "1"}})
        export.add("order", "order-1", {"PickedUp": {"canteen": CANTEEN, "recognised": cny(2700)}})
        refunded(export, "order-1", 300, [{"line": 1, "quantity": 1}], source={"canteen": CANTEEN})
        bought(export, "order-2")
        refunded(export, "order-2", 1200, [{"line": 0, "quantity": 1}], cancelled=True)
        export.add("serving", SERVING, {"Released": {"order": "order-2", "portions": [{"dish": RICE, "quantity": 1}]}})
        placed(export, "order-3", rice=1, soup=1)
        export.add("order", "order-3", {"Refused": {"SoldOut": [{"dish": SOUP, "asked": 1, "left": 0}]}})
        placed(export, "order-4")
        export.add("order", "order-4", {"Refused": "AccountFrozen"})
        result = result_of(export)
        self.assertEqual(result["problems_first"], [])
        self.assertEqual(result["unfinished_first"], [])
        self.assertEqual(result["orders"], {TENANT: {"CANCELLED": 1, "PICKED_UP": 1, "REFUSED": 2}})
        self.assertEqual(result["refused"], {TENANT: {"ACCOUNT_FROZEN": 1, "SOLD_OUT": 1}})
        self.assertEqual(
            result["takings"],
            {
                TENANT: {
                    RICE: {"portions": 2, "minor": 2400, "currency": "CNY"},
                    SOUP: {"portions": 0, "minor": 0, "currency": "CNY"},
                }
            },
        )
        self.assertEqual(
            result["balances"],
            {
                TENANT: {
                    "bank": {"CNY": -10_000},
                    f"canteen:{CANTEEN}": {"CNY": 2400},
                    "prepaid": {"CNY": 0},
                    f"wallet:{DINER}": {"CNY": 7600},
                }
            },
        )
        self.assertEqual(result["offers"][TENANT][SERVING][RICE], {"portions": 5, "reserved": 2, "left": 3})
        self.assertEqual(
            result["totals"], {TENANT: {"CNY": {"orders_confirmed": 2, "portions": 2, "takings_minor": 2400}}}
        )

    def test_money_at_the_till(self):
        export = opened()
        total = placed(export, "order-1", terms="at_counter")
        reserved(export, "order-1")
        tender = {"source": {"external": "counter"}, "amount": total, "why": "rest"}
        started = {"order": "order-1", "diner": DINER, "total": total, "tenders": [tender]}
        export.add("payment", "order-1", {"Started": started})
        self.assertEqual(result_of(export)["unfinished"], 0, "it waits for the diner")
        paid = {"tender": 0, "provider": "counter", "amount": total}
        export.add("payment", "order-1", {"Paid": paid}, "Held")
        export.add("order", "order-1", "Confirmed")
        self.assertEqual(result_of(export)["unfinished_first"], ["order order-1 is CONFIRMED and not charged"])
        export.add("payment", "order-1", "Captured")
        result = result_of(export)
        self.assertEqual((result["problems"], result["unfinished"]), (0, 0))
        self.assertEqual(result["balances"][TENANT]["clearing:counter"], {"CNY": -1200})
        self.assertEqual(result["balances"][TENANT]["prepaid"], {"CNY": 1200})

    def test_a_withdrawn_dish_gives_its_portions_back_and_has_none_left(self):
        export = bought(opened(), "order-1", rice=1, soup=1)
        export.add("serving", SERVING, {"DishWithdrawn": {"dish": SOUP, "orders": ["order-1"]}})
        refunded(export, "order-1", 300, [{"line": 1, "quantity": 1}])
        self.assertEqual(result_of(export)["unfinished"], 1, "the withdrawal is not settled")
        export.add("serving", SERVING, {"WithdrawalSettled": {"dish": SOUP}})
        result = result_of(export)
        self.assertEqual((result["problems_first"], result["unfinished"]), ([], 0))
        self.assertEqual(result["offers"][TENANT][SERVING][SOUP], {"portions": 1, "reserved": 0, "left": 0})


def six_percent(minor):
    return [{"rate": "6", "amount": cny(minor)}]


class Tax(unittest.TestCase):
    """Two rice at 12.00 with 6 % and a soup without: 24.00 · 6 / 106 = 1.358 is tax, 0.679 of one."""

    def served(self, tax):
        export = bought(opened(), "order-1", rice=2, soup=1, tax="6")
        export.add("order", "order-1", {"Readied": {"code": "1"}})
        return export.add("order", "order-1", {"PickedUp": {"canteen": CANTEEN, "recognised": cny(2700), "tax": tax}})

    def test_tax_is_owed_by_rate_and_goes_back_with_a_refund(self):
        export = self.served(six_percent(136))
        books = result_of(export)["balances"][TENANT]
        self.assertEqual((books["tax:6"], books[f"canteen:{CANTEEN}"]), ({"CNY": 136}, {"CNY": 2564}))
        unearned = {"canteen": CANTEEN, "tax": six_percent(68)}
        refunded(export, "order-1", 1200, [{"line": 0, "quantity": 1}], unearned=unearned)
        result = result_of(export)
        self.assertEqual((result["problems_first"], result["unfinished_first"]), ([], []))
        books = result["balances"][TENANT]
        self.assertEqual((books["tax:6"], books[f"canteen:{CANTEEN}"]), ({"CNY": 68}, {"CNY": 1432}))
        self.assertEqual((books["prepaid"], result["trial_balance_minor"]), ({"CNY": 0}, 0))

    def test_wrong_tax_is_a_problem(self):
        for wrong in (six_percent(135), six_percent(137), []):
            self.assertIn("took out tax", result_of(self.served(wrong))["problems_first"][0])
        unearned = {"canteen": CANTEEN, "tax": six_percent(67)}
        lines = [{"line": 0, "quantity": 1}]
        export = refunded(self.served(six_percent(136)), "order-1", 1200, lines, unearned=unearned)
        self.assertIn("keeps tax", result_of(export)["problems_first"][0])
        early = bought(opened(), "order-1", tax="6")
        refunded(early, "order-1", 1200, lines, unearned={"canteen": CANTEEN})
        self.assertIn("gives up what is not earned", result_of(early)["problems_first"][0])


def changed(export, order, taken=900, made="Changed"):
    """One rice at 12.00 becomes three at 7.00, for 9.00 more from the wallet."""
    lines = [{"dish": RICE, "name": "rice", "quantity": 3, "unit_price": cny(700)}]
    wanted = {"change": "change-1", "lines": lines, "total": cny(2100)}
    portions = [{"dish": RICE, "quantity": 2}]
    of_serving = {"order": order, "change": "change-1"}
    tender = {"source": {"account": f"wallet:{DINER}"}, "amount": cny(900), "why": "rest"}
    extended = {"extension": "change-1", "amount": cny(900), "first": 1, "tenders": [tender]}
    export.add("order", order, {"ChangeBegun": {"serving": SERVING, "change": wanted}})
    export.add("serving", SERVING, {"Widened": {**of_serving, "portions": portions}})
    export.add("payment", order, {"Extended": extended})
    export.add("wallet", DINER, {"Held": {"hold": f"{order}/1", "amount": cny(900)}})
    export.add("order", order, {made: wanted})
    export.add("serving", SERVING, {"Narrowed": {**of_serving, "portions": []}})
    export.add("wallet", DINER, {"Captured": {"hold": f"{order}/1", "amount": cny(taken)}})
    export.add("payment", order, {"ExtensionCaptured": {"extension": "change-1", "amount": cny(900)}})
    export.add("order", order, {"ChangeSettled": {"change": "change-1"}})
    return export


class Changes(unittest.TestCase):
    def test_what_an_order_costs_more_is_taken_and_what_it_costs_less_goes_back(self):
        export = changed(bought(opened(), "order-1"), "order-1")
        # Back to one, for 14.00 less.
        one = [{"dish": RICE, "name": "rice", "quantity": 1, "unit_price": cny(700)}]
        wanted = {"change": "change-2", "lines": one, "total": cny(700)}
        export.add("order", "order-1", {"ChangeBegun": {"serving": SERVING, "change": wanted}})
        begun = {"refund": "change-2", "amount": cny(1400), "from": "prepaid"}
        of_order = {"RefundBegun": {**begun, "lines": [], "reason": "changed"}}
        export.add("order", "order-1", of_order, {"Changed": wanted}, {"ChangeSettled": {"change": "change-2"}})
        less = {"order": "order-1", "change": "change-2", "portions": [{"dish": RICE, "quantity": 2}]}
        export.add("serving", SERVING, {"Narrowed": less})
        parts = [{"tender": 1, "amount": cny(900)}, {"tender": 0, "amount": cny(500)}]
        export.add("payment", "order-1", {"RefundBegun": {**begun, "parts": parts}})
        for tender, minor in ((1, 900), (0, 500)):
            credit = {"refund": "change-2", "hold": f"order-1/{tender}", "amount": cny(minor), "from": "prepaid"}
            export.add("wallet", DINER, {"Refunded": credit})
        export.add("payment", "order-1", {"RefundSettled": {"refund": "change-2"}})
        export.add("order", "order-1", {"RefundSettled": {"refund": "change-2"}})
        result = result_of(export)
        self.assertEqual(result["problems"], 0, result["problems_first"])
        self.assertEqual(result["unfinished"], 0, result["unfinished_first"])

    def test_a_difference_that_was_not_taken_is_a_problem(self):
        result = result_of(changed(bought(opened(), "order-1"), "order-1", taken=899))
        self.assertIn("was not taken as planned", " ".join(result["problems_first"]))
        result = result_of(changed(bought(opened(), "order-1"), "order-1", made="ChangeRefused"))
        self.assertIn("costs 0 more, taken was 900", " ".join(result["problems_first"]))


class Faults(unittest.TestCase):
    def problem(self, export, part):
        result = result_of(export)
        self.assertTrue(any(part in problem for problem in result["problems_first"]), result["problems_first"])

    def test_a_gap_in_positions_and_versions(self):
        export = opened()
        export.rows[3]["position"] = 9
        self.problem(export, "position 9 is out of order")
        export = opened()
        export.rows[3]["version"] = 5
        self.problem(export, "the event says 5")

    def test_a_time_that_went_back(self):
        export = opened()
        export.rows[3]["recorded_at"] = "2026-11-23T02:59:59Z"
        self.problem(export, "went back")

    def test_a_lost_line(self):
        export = opened()
        lines = export.lines()
        books = Recomputed()
        books.read([*lines[:-2], lines[-1]])
        self.assertIn("the manifest says 4 events", books.problems[0])

    def test_an_oversold_dish(self):
        export = bought(bought(opened(), "order-1", soup=1), "order-2", soup=1)
        self.problem(export, "2 reserved of 1")

    def test_a_repeat_that_was_carried_out(self):
        export = bought(opened(), "order-1")
        placed(export, "order-1")
        self.problem(export, "was placed twice")
        export = opened().add("wallet", DINER, {"Deposited": {"deposit": "deposit-1", "amount": cny(1)}})
        self.problem(export, "Deposited deposit-1 twice")
        export = opened().add("wallet", DINER, {"Deposited": {"deposit": "deposit-2", "amount": cny(1)}})
        export.add("wallet", DINER, {"Deposited": {"deposit": "deposit-3", "amount": cny(1)}})
        export.rows[-1]["metadata"]["command"] = export.rows[2]["metadata"]["command"]
        self.problem(export, "carried out twice")

    def test_more_back_than_was_captured(self):
        export = refunded(bought(opened(), "order-1"), "order-1", 1300, [{"line": 0, "quantity": 1}])
        self.problem(export, "exceed what was captured by 100")
        self.problem(export, "is 1300 for lines worth 1200")

    def test_an_account_below_its_floor(self):
        export = bought(opened(), "order-1", rice=5)
        tender = {"hold": "order-9/0", "amount": cny(4_001)}
        self.problem(export.add("wallet", DINER, {"Held": tender}), "1 below its floor")

    def test_a_wrong_amount_earned(self):
        export = bought(opened(), "order-1").add("order", "order-1", {"Readied": {"code": "1"}})
        export.add("order", "order-1", {"PickedUp": {"canteen": CANTEEN, "recognised": cny(1100)}})
        self.problem(export, "earned 1100")

    def test_a_status_out_of_turn(self):
        self.problem(bought(opened(), "order-1").add("order", "order-1", "Confirmed"), "is CONFIRMED, then came")

    def test_an_order_sold_without_portions(self):
        export = opened()
        placed(export, "order-1")
        self.problem(export.add("order", "order-1", "Confirmed"), "was confirmed over {}")

    def test_every_step_of_a_checkout_leaves_something_unfinished(self):
        whole = bought(opened(), "order-1")
        start = len(opened().rows)
        for cut in range(start + 1, len(whole.rows)):
            part = Export()
            part.rows = whole.rows[:cut]
            self.assertGreater(result_of(part)["unfinished"], 0, f"after {part.rows[-1]['type']}")
        self.assertEqual(result_of(whole)["unfinished"], 0)


class CommandLine(unittest.TestCase):
    def run_main(self, *arguments):
        out = io.StringIO()
        code = recompute.main([self.export, *arguments], out)
        return code, json.loads(out.getvalue()) if out.getvalue() else None

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.export = self.write("export.jsonl", "\n".join(bought(opened(), "order-1").lines()))

    def test_equal_views_pass_and_another_figure_is_named(self):
        code, result = self.run_main()
        self.assertEqual(code, 0)
        views = {section: result[section] for section in recompute.COMPARED}
        views["balances"][TENANT]["suspense"] = {"CNY": 0}
        code, again = self.run_main("--compare", self.write("views.json", json.dumps(views)), "--finished")
        self.assertEqual((code, again["differences_first"]), (0, []))
        views["takings"][TENANT][RICE]["minor"] += 1
        code, again = self.run_main("--compare", self.write("views.json", json.dumps(views)))
        self.assertEqual(code, 1)
        expected = [f"takings/{TENANT}/{RICE}/minor: recomputed 1200, the product says 1201"]
        self.assertEqual(again["differences_first"], expected)

    def test_views_that_lack_a_row_differ(self):
        code, again = self.run_main("--compare", self.write("views.json", json.dumps({"orders": {}})))
        self.assertEqual(code, 1)
        self.assertEqual(again["differences"], 1)

    def test_what_was_acknowledged_must_be_there(self):
        told = self.write("told.txt", "order-1 CONFIRMED\n")
        self.assertEqual(self.run_main("--acknowledged", told)[0], 0)
        told = self.write("told.txt", "order-1 REFUSED\norder-2\n")
        code, result = self.run_main("--acknowledged", told)
        self.assertEqual((code, result["lost"]), (1, 2))

    def test_what_cannot_be_read_is_an_error_of_its_own(self):
        for text in ("not json", '{"position": 1}', '{"position": 1, "stream": 7}'):
            self.export = self.write("export.jsonl", text)
            with self.subTest(text):
                self.assertEqual(self.run_main(), (2, None))
        self.export = self.write("export.jsonl", "")
        self.assertEqual(self.run_main("--compare", self.write("views.json", '{"other": 1}')), (2, None))


COMPANY, RUN, LOT = "company-1", "run-1", "lot-1"


def granted(minor=2_000, expires="2026-11-23T16:00:00Z", of=None):
    """A company with 100.00 that has granted one lot, in a run that is over."""
    export = opened()
    amount = cny(minor)
    company = [{"Opened": {"currency": "CNY"}}, {"Deposited": {"deposit": "deposit-2", "amount": cny(10_000)}}]
    export.add("company", COMPANY, *company)
    export.add("grant", RUN, {"Begun": {"currency": "CNY"}})
    export.add("company", COMPANY, {"Allocated": {"run": RUN, "batch": 1, "amount": amount}})
    terms = {"run": RUN, "expires_at": expires, **(of or {})}
    lot = {"Granted": {"lot": LOT, "terms": terms, "amount": amount}}
    export.add("subsidy", DINER, {"Opened": {"currency": "CNY"}}, lot)
    export.add("grant", RUN, {"Finished": {}})
    return export


class Lots(unittest.TestCase):
    def test_a_lot_is_granted_and_what_is_left_lapses(self):
        export = granted(expires="2026-11-23T02:00:00Z")
        export.add("subsidy", DINER, {"Lapsed": {"lot": LOT, "amount": cny(2_000)}})
        result = result_of(export)
        self.assertEqual((result["problems_first"], result["unfinished_first"]), ([], []))
        books = result["balances"][TENANT]
        left = {name: sums["CNY"] for name, sums in books.items()}
        self.assertEqual((left["breakage"], left[f"transit:{RUN}"], left[f"company:{COMPANY}"]), (2_000, 0, 8_000))
        self.assertEqual((left[f"subsidy:{DINER}"], result["trial_balance_minor"]), (0, 0))

    def test_a_lot_is_cleared_once_its_diner_has_left(self):
        lapsed = {"Lapsed": {"lot": LOT, "amount": cny(2_000)}}
        for clears, on, right in ((True, "2026-11-23", True), (True, "2026-12-01", False), (False, "2026-11-23", False)):
            with self.subTest(clears=clears, on=on):
                terms = {"cleared_on_leaving": True} if clears else {}
                export = granted(expires="2026-12-31T16:00:00Z", of={"policy": "policy-1", "version": 1})
                set_terms = {"TermsSet": {"version": 1, "from": "2026-11-01", "terms": terms}}
                export.add("policy", "policy-1", {"Opened": {"company": COMPANY}}, set_terms)
                joined = {"Joined": {"company": COMPANY, "from": "2026-11-01"}}
                export.add("diner", DINER, joined, {"Left": {"on": on}})
                problems = result_of(export.add("subsidy", DINER, lapsed))["problems_first"]
                self.assertEqual(problems == [], right, problems)

    def test_what_a_lot_must_not_do_is_a_problem(self):
        hold = {"hold": "order-1/0", "lot": LOT}
        for wrong, events in {
            "more than its lot has": [{"Held": {**hold, "amount": cny(2_001)}}],
            "lapsed before its time": [{"Lapsed": {"lot": LOT, "amount": cny(1)}}],
            "Granted lot-1 twice": [{"Granted": {"lot": LOT, "terms": {"run": RUN, "expires_at": "x"}, "amount": cny(1)}}],
            "of a lot that it was not granted": [{"Held": {**hold, "lot": "lot-2", "amount": cny(1)}}],
        }.items():
            with self.subTest(wrong):
                found = result_of(granted().add("subsidy", DINER, *events))["problems_first"]
                self.assertTrue(any(wrong in problem for problem in found), found)
        late = granted(expires="2026-11-23T02:00:00Z").add("subsidy", DINER, {"Held": {**hold, "amount": cny(1)}})
        self.assertIn("past its time", result_of(late)["problems_first"][0])

    def test_a_run_that_leaves_money_on_its_way_is_a_problem(self):
        export = granted()
        export.add("grant", "run-2", {"Begun": {"currency": "CNY"}})
        export.add("company", COMPANY, {"Allocated": {"run": "run-2", "batch": 1, "amount": cny(5)}})
        self.assertEqual(result_of(export)["unfinished_first"], ["the run of grants run-2 is not finished"])
        export.add("grant", "run-2", {"Finished": {}})
        self.assertIn("run run-2 ended with 5 in transit", result_of(export)["problems_first"][0])


INVOICE = "invoice-1"


def owing():
    """A company that may owe 100.00 and owes 20.00."""
    export = opened()
    export.add("company", COMPANY, {"Opened": {"currency": "CNY"}}, {"FloorSet": {"floor": cny(-10_000)}})
    export.add("grant", RUN, {"Begun": {"currency": "CNY"}})
    export.add("company", COMPANY, {"Allocated": {"run": RUN, "batch": 1, "amount": cny(2_000)}})
    return export


def invoiced(minor=2_000):
    export = owing()
    bill = {"number": 1, "amount": cny(minor), "through": "2026-11-23", "due_on": "2026-12-23"}
    export.add("company", COMPANY, {"Invoiced": {"invoice": INVOICE, **bill}})
    return export.add("invoice", INVOICE, {"Issued": {"company": COMPANY, **bill}})


def paid(export, minor, told=None):
    payment = {"payment": "payment-1", "amount": cny(minor)}
    export.add("invoice", INVOICE, {"Paid": {"company": COMPANY, **payment}})
    taken = {"invoice": INVOICE, **payment, "amount": cny(told or minor)}
    export.add("company", COMPANY, {"InvoicePaid": taken})
    return export.add("invoice", INVOICE, "Booked")


class Invoices(unittest.TestCase):
    def test_what_is_asked_is_a_receivable_until_it_is_paid(self):
        result = result_of(paid(invoiced(), 500))
        books = {name: sums["CNY"] for name, sums in result["balances"][TENANT].items()}
        self.assertEqual((result["problems_first"], result["trial_balance_minor"]), ([], 0))
        self.assertEqual((books[f"receivable:{COMPANY}"], books[f"company:{COMPANY}"]), (-1_500, 0))
        self.assertEqual(books["bank"], -10_500)

    def test_a_void_one_is_owed_again(self):
        export = invoiced().add("invoice", INVOICE, {"Voided": {"reason": "mistake"}})
        self.assertIn(f"invoice {INVOICE} and company:{COMPANY} do not agree yet", result_of(export)["unfinished_first"])
        export.add("company", COMPANY, {"InvoiceVoided": {"invoice": INVOICE, "amount": cny(2_000)}})
        result = result_of(export.add("invoice", INVOICE, "Booked"))
        books = {name: sums["CNY"] for name, sums in result["balances"][TENANT].items()}
        self.assertEqual((result["problems_first"], result["trial_balance_minor"]), ([], 0))
        self.assertEqual((books[f"receivable:{COMPANY}"], books[f"company:{COMPANY}"]), (0, -2_000))

    def test_what_an_invoice_must_not_do_is_a_problem(self):
        allocated = {"Allocated": {"run": RUN, "batch": 2, "amount": cny(8_001)}}
        for wrong, export in {
            "was asked for 2001 and owed 2000": invoiced(2_001),
            "was paid 1 too much": paid(invoiced(), 2_001),
            "was told 400 paid": paid(invoiced(), 500, told=400),
            "granted more than it has": invoiced().add("company", COMPANY, allocated),
            "voided after a payment": paid(invoiced(), 1).add("invoice", INVOICE, {"Voided": {"reason": "mistake"}}),
        }.items():
            with self.subTest(wrong):
                found = result_of(export)["problems_first"]
                self.assertTrue(any(wrong in problem for problem in found), found)


if __name__ == "__main__":
    unittest.main()
