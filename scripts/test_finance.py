"""Tests of what finance does: top-ups, payouts, corrections, over small hand-made exports."""

import unittest

from test_recompute import DINER, TENANT, cny, opened, result_of

WALLET = f"wallet:{DINER}"


def about(export, thing):
    """Says what the last event was all about."""
    export.rows[-1]["metadata"]["correlation"] = thing
    return export


def topped_up(source="counter"):
    export = opened()
    slip = {"account": WALLET, "amount": cny(500), "source": source, "by": "one"}
    export.add("top_up", "top-up-1", {"Requested": slip})
    deposited = {"deposit": "top-up-1", "amount": cny(500)}
    export.add("wallet", DINER, {"Deposited": {**deposited, **({} if source == "bank" else {"source": source})}})
    return export.add("top_up", "top-up-1", "Credited")


def held(minor=400):
    export = opened()
    export.add("payout", "payout-1", {"Requested": {"account": WALLET, "amount": cny(400), "by": "one"}})
    export.add("wallet", DINER, {"PayoutHeld": {"payout": "payout-1", "amount": cny(minor)}})
    return export.add("payout", "payout-1", "Held")


def proposed():
    adjust = {"change": {"Adjust": {"account": WALLET, "by": cny(-300)}}, "reason": "correction"}
    move = {"from": "suspense", "to": "canteen:canteen-1", "amount": cny(200)}
    entries = [adjust, {"change": {"Move": move}, "reason": "reconciliation"}]
    return opened().add("correction", "fix-1", {"Proposed": {"by": "one", "proposal": {"entries": entries}}}), move


def applied(by="two", minor=-300, moved=None, refused=()):
    export, move = proposed()
    approval = {"Applied": {"approval": {"SecondPerson": by}}}
    export.add("correction", "fix-1", approval, {"Moved": {"entry": 1, **move, **(moved or {})}})
    adjusted = {"adjustment": "adjustment-1", "by": cny(minor), "reason": "correction"}
    about(export.add("wallet", DINER, {"Adjusted": adjusted}), "fix-1")
    return export.add("correction", "fix-1", {"Settled": {"refused": list(refused)}})


class Finance(unittest.TestCase):
    def balances(self, export):
        result = result_of(export)
        self.assertEqual((result["problems_first"], result["unfinished_first"]), ([], []))
        self.assertEqual(result["trial_balance_minor"], 0)
        return {name: sums["CNY"] for name, sums in result["balances"][TENANT].items()}

    def problem(self, export, part):
        found = result_of(export)["problems_first"]
        self.assertTrue(any(part in problem for problem in found), (part, found))

    def test_money_comes_from_a_till_or_the_bank(self):
        books = self.balances(topped_up())
        self.assertEqual((books[WALLET], books["bank"], books["clearing:counter"]), (10_500, -10_000, -500))
        books = self.balances(topped_up("bank"))
        self.assertEqual((books[WALLET], books["bank"]), (10_500, -10_500))

    def test_a_top_up_that_its_account_does_not_have_is_a_problem(self):
        export = opened()
        slip = {"account": WALLET, "amount": cny(5), "source": "bank", "by": "one"}
        export.add("top_up", "top-up-1", {"Requested": slip})
        self.assertEqual(result_of(export)["unfinished_first"], ["top-up top-up-1 is neither credited nor failed"])
        self.problem(export.add("top_up", "top-up-1", "Credited"), "its account says otherwise")
        self.problem(topped_up().add("top_up", "top-up-1", "Credited"), "out of turn")

    def test_a_payout_leaves_by_the_bank_or_comes_free(self):
        export = held()
        self.balances(export)
        export.add("payout", "payout-1", {"PaidOut": {"by": "two"}})
        left = ["payout payout-1 is PaidOut, and its account has not followed"]
        self.assertEqual(result_of(export)["unfinished_first"], left)
        export.add("wallet", DINER, {"PaidOut": {"payout": "payout-1", "amount": cny(400)}})
        books = self.balances(export.add("payout", "payout-1", "Settled"))
        self.assertEqual((books[WALLET], books["bank"]), (9_600, -9_600))
        export = held().add("payout", "payout-1", {"Cancelled": {"by": "two"}})
        export.add("wallet", DINER, {"PayoutReleased": {"payout": "payout-1", "amount": cny(400)}})
        self.assertEqual(self.balances(export.add("payout", "payout-1", "Settled"))[WALLET], 10_000)

    def test_what_a_payout_must_not_do_is_a_problem(self):
        self.problem(held(10_001), "of more than it has")
        self.problem(held(300), "its account has 300")
        self.problem(held().add("payout", "payout-1", "Settled"), "out of turn")
        more = held().add("wallet", DINER, {"PaidOut": {"payout": "payout-1", "amount": cny(401)}})
        self.problem(more, "held was 400")
        open_still = held().add("payout", "payout-1", {"PaidOut": {"by": "two"}}, "Settled")
        self.problem(open_still, "its account still holds 400")

    def test_a_correction_adjusts_and_moves_what_it_says(self):
        books = self.balances(applied())
        self.assertEqual((books[WALLET], books["suspense"], books["canteen:canteen-1"]), (9_700, 100, 200))

    def test_what_a_correction_must_not_do_is_a_problem(self):
        self.problem(applied(by="one"), "applied by its proposer")
        self.problem(applied(minor=-299), "adjusted")
        self.problem(applied(refused=[0]), "adjusted")
        self.problem(applied(moved={"amount": cny(201)}), "moved other than it proposed")
        export, _ = proposed()
        within = {"Applied": {"approval": {"WithinLimit": cny(10_000)}}}
        self.problem(export.add("correction", "fix-1", within), "needed a second person")
        self.assertEqual(
            result_of(export)["unfinished_first"], ["correction fix-1 is applied and not settled"]
        )
        rejected, _ = proposed()
        rejected.add("correction", "fix-1", {"Rejected": {"by": "two"}})
        self.balances(rejected)
        self.problem(rejected.add("correction", "fix-1", within), "out of turn")


if __name__ == "__main__":
    unittest.main()
