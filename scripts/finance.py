"""The part of books.py that folds what finance does: top-ups, payouts, corrections.

It knows the events' JSON and nothing of the program that wrote them. Python's standard library only.
"""

from collections import Counter, defaultdict


class Finance:
    """Mixed into the fold, whose `check` and `accounts` it uses."""

    def begin_finance(self):
        self.top_ups = {}
        self.payouts = {}
        self.corrections = {}
        self.moved = Counter()
        # What accounts were adjusted by, by what it was about.
        self.adjusted = defaultdict(Counter)

    # Accounts.

    def deposit(self, tenant, account, content):
        minor = content["amount"]["minor"]
        account.deposits += minor
        if content.get("source", "bank") == "bank":
            account.from_bank += minor
        else:
            self.clearing[tenant, content["source"], account.currency] -= minor

    def of_payout_on_account(self, account, account_id, name, content):
        payout, minor = content["payout"], content["amount"]["minor"]
        if name == "PayoutHeld":
            self.once(account, account_id, name, payout)
            self.check(not account.frozen and not account.closed, f"{account_id} held payout {payout} while shut")
            account.payouts[payout] = minor
            self.check(account.available() >= 0, f"{account_id} held payout {payout} of more than it has")
        elif name == "PaidOut":
            held = account.payouts.pop(payout, None)
            self.check(held == minor, f"{account_id} paid {minor} out for {payout}, held was {held}")
            account.paid_out += minor
        else:
            held = account.payouts.pop(payout, 0)
            self.check(held == minor, f"{account_id} gave {minor} of {payout} up, held was {held}")

    # Top-ups and payouts: each is followed by its account.

    def of_top_up(self, tenant, top_up, name, content):
        if name == "Requested":
            self.check((tenant, top_up) not in self.top_ups, f"top-up {top_up} was requested twice")
            self.top_ups[tenant, top_up] = {"status": name, **content}
            return
        known = self.top_ups.get((tenant, top_up))
        if not self.check(known and known["status"] == "Requested", f"top-up {top_up} became {name} out of turn"):
            return
        known["status"] = name
        account = self.accounts.get((tenant, known["account"]))
        has = bool(account) and ("Deposited", top_up) in account.seen
        self.check(has == (name == "Credited"), f"top-up {top_up} is {name}, its account says otherwise")

    def of_payout(self, tenant, payout, name, content):
        turns = {
            "Held": ("Requested",),
            "Refused": ("Requested",),
            "PaidOut": ("Held",),
            "Cancelled": ("Held",),
            "Settled": ("PaidOut", "Cancelled"),
        }
        if name == "Requested":
            self.check((tenant, payout) not in self.payouts, f"payout {payout} was requested twice")
            self.payouts[tenant, payout] = {"status": name, **content}
            return
        known = self.payouts.get((tenant, payout))
        if not self.check(known and known["status"] in turns.get(name, ()), f"payout {payout} became {name} out of turn"):
            return
        account = self.accounts.get((tenant, known["account"]))
        held = account.payouts.get(payout) if account else None
        if name == "Held":
            self.check(held == known["amount"]["minor"], f"payout {payout} is held, its account has {held}")
        elif name == "Settled":
            self.check(held is None, f"payout {payout} is settled, its account still holds {held}")
        known["status"] = name

    # Corrections: whoever proposes one never applies it.

    def of_correction(self, tenant, correction, name, content):
        if name == "Proposed":
            self.check((tenant, correction) not in self.corrections, f"correction {correction} was proposed twice")
            entries = content["proposal"]["entries"]
            self.corrections[tenant, correction] = {"status": name, "by": content["by"], "entries": entries}
            return
        turns = {"Applied": "Proposed", "Rejected": "Proposed", "Moved": "Applied", "Settled": "Applied"}
        known = self.corrections.get((tenant, correction))
        turn = known and name in turns and known["status"] == turns[name]
        if not self.check(turn, f"correction {correction} became {name} out of turn"):
            return
        if name == "Moved":
            self.move_money(tenant, correction, known, content)
            return
        known["status"] = name
        if name == "Applied":
            self.check_approval(correction, known, content["approval"])
        elif name == "Settled":
            self.check_settled(tenant, correction, known, set(content["refused"]))

    def check_approval(self, correction, known, approval):
        if "SecondPerson" in approval:
            self.check(approval["SecondPerson"] != known["by"], f"correction {correction} was applied by its proposer")
            return
        limit = approval["WithinLimit"]
        changes = [entry["change"].get("Adjust") for entry in known["entries"]]
        within = len(changes) == 1 and changes[0] and changes[0]["by"]["currency"] == limit["currency"]
        within = within and abs(changes[0]["by"]["minor"]) <= limit["minor"]
        self.check(within, f"correction {correction} needed a second person")

    def move_money(self, tenant, correction, known, content):
        change = known["entries"][content["entry"]]["change"].get("Move")
        same = change == {key: content[key] for key in ("from", "to", "amount")}
        self.check(same, f"correction {correction} moved other than it proposed")
        money = content["amount"]
        self.moved[tenant, content["from"], money["currency"]] -= money["minor"]
        self.moved[tenant, content["to"], money["currency"]] += money["minor"]
        known.setdefault("moves", set()).add(content["entry"])

    def check_settled(self, tenant, correction, known, refused):
        wanted, moves = Counter(), set()
        for number, entry in enumerate(known["entries"]):
            adjust = entry["change"].get("Adjust")
            if adjust is None:
                moves.add(number)
            elif number not in refused:
                wanted[adjust["account"]] += adjust["by"]["minor"]
        found = {account: minor for account, minor in self.adjusted[tenant, correction].items() if minor}
        wanted = {account: minor for account, minor in wanted.items() if minor}
        self.check(found == wanted, f"correction {correction} adjusted {found}, its entries say {wanted}")
        self.check(known.get("moves", set()) == moves, f"correction {correction} did not make each of its moves")

    def unfinished_finance(self):
        for (_, top_up), known in self.top_ups.items():
            if known["status"] == "Requested":
                yield f"top-up {top_up} is neither credited nor failed"
        for (_, payout), known in self.payouts.items():
            if known["status"] in ("Requested", "PaidOut", "Cancelled"):
                yield f"payout {payout} is {known['status']}, and its account has not followed"
        for (_, correction), known in self.corrections.items():
            if known["status"] == "Applied":
                yield f"correction {correction} is applied and not settled"
