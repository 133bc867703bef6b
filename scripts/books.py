"""The fold behind recompute.py: an export's events, one by one, into books and a list of problems.

It knows the events' JSON and nothing of the program that wrote them. Python's standard library only.
"""

import json
from collections import Counter, defaultdict
from fractions import Fraction

from finance import Finance
from leavers import Leavers

MOST_SHOWN = 50
"""Problems, differences and unfinished things are counted all, but shown only up to here."""

# Providers that are asked over a network.
REMOTE = ("wechat_pay", "alipay")
NEXT_STATUS = {
    None: {"Placed": "PLACED"},
    "PLACED": {
        "Confirmed": "CONFIRMED",
        "Refused": "REFUSED",
        "Expired": "EXPIRED",
        "Cancelled": "CANCELLED",
    },
    "CONFIRMED": {
        "Preparing": "PREPARING",
        "Readied": "READY",
        "PickedUp": "PICKED_UP",
        "NoShow": "NO_SHOW",
        "Cancelled": "CANCELLED",
    },
    "PREPARING": {"Readied": "READY", "NoShow": "NO_SHOW", "Cancelled": "CANCELLED"},
    "READY": {"PickedUp": "PICKED_UP", "NoShow": "NO_SHOW", "Cancelled": "CANCELLED"},
}
"""Where an order goes from each status. What is not here must not happen."""

REFUSAL_CODES = {
    "SoldOut": "SOLD_OUT",
    "Closed": "CLOSED",
    "NotYetOpen": "NOT_YET_OPEN",
    "PriceChanged": "PRICE_CHANGED",
    "DinerLimit": "DINER_LIMIT",
    "InsufficientFunds": "INSUFFICIENT_FUNDS",
    "AccountFrozen": "ACCOUNT_FROZEN",
    "Withdrawn": "WITHDRAWN",
    "NotOffered": "NOT_OFFERED",
    "TooLate": "TOO_LATE",
}

class Unreadable(Exception):
    """The input is not an export."""


def named(payload):
    """Name and content of an externally tagged value: "Held" or {"Paid": {...}}."""
    if isinstance(payload, str):
        return payload, {}
    if isinstance(payload, dict) and len(payload) == 1:
        return next(iter(payload.items()))
    raise Unreadable(f"not an externally tagged value: {json.dumps(payload)[:80]}")


def parts_by_rate(content):
    """The tax that an event names: percent as text → minor units."""
    return {part["rate"]: part["amount"]["minor"] for part in content.get("tax", [])}


def instant(text):
    """A key by which RFC 3339 texts in UTC sort, whatever number of decimals they have."""
    whole, _, rest = text.rstrip("Zz").partition(".")
    return whole, rest.ljust(9, "0")


class Order:
    def __init__(self, placed):
        self.placed = placed
        self.status = None
        self.was_confirmed = False
        self.paid_in = 0
        self.back_from_prepaid = 0
        self.back_from_canteen = 0
        self.recognised = 0
        self.unearned = 0
        self.tax = Counter()
        self.refunds = {}
        self.portions_refunded = Counter()
        self.money_refunded = Counter()
        self.change = None
        self.changes = {}

    def refunds_begun(self):
        """Of what it is for now."""
        return sum(refund["amount"] for refund in self.refunds.values() if not refund["before_change"])

    def refunds_before(self):
        """Of what it was for before it was changed."""
        return sum(refund["amount"] for refund in self.refunds.values() if refund["before_change"])

    def prepaid(self):
        """What is paid for it and neither given back nor earned."""
        return self.paid_in - self.back_from_prepaid - self.recognised + self.unearned

    def tax_of_what_is_left(self):
        """By rate: what the money that no refund has begun for contains, rounded once, half up."""
        gross = Counter()
        for index, line in enumerate(self.placed["lines"]):
            left = line["quantity"] * line["unit_price"]["minor"] - self.money_refunded[index]
            gross[line.get("tax", "0")] += left
        exact = {rate: minor * Fraction(rate) / (100 + Fraction(rate)) for rate, minor in gross.items()}
        whole = {rate: (2 * part.numerator + part.denominator) // (2 * part.denominator) for rate, part in exact.items()}
        return {rate: minor for rate, minor in whole.items() if minor}


class Payment:
    def __init__(self, started):
        self.started = started
        self.stage = "Planned"
        self.asked = set()
        self.backs = {}
        self.captured = Counter()
        self.given_back = Counter()
        self.begun = Counter()
        self.refunds = {}
        self.extensions = {}


class Account:
    def __init__(self, currency):
        self.currency = currency
        self.deposits = 0
        self.from_bank = 0
        self.paid_out = 0
        self.payouts = {}
        self.captures = 0
        self.refunds = 0
        self.adjustments = 0
        self.granted = 0
        self.allocated = 0
        self.taken_back = 0
        self.lapsed = 0
        self.invoiced = {}
        self.void = 0
        self.told_paid = Counter()
        self.lots = {}
        self.lot_of_hold = {}
        self.floor = 0
        self.frozen = False
        self.closed = False
        self.holds = {}
        self.seen = set()

    def posted(self):
        came = self.deposits + self.granted + self.taken_back + self.refunds + self.adjustments
        came += sum(self.invoiced.values()) - self.void
        return came - self.captures - self.allocated - self.lapsed - self.paid_out

    def receivable(self):
        """What is invoiced and, as far as this account was told, not paid."""
        return sum(self.invoiced.values()) - self.void - sum(self.told_paid.values())

    def available(self):
        held = sum(self.holds.values()) + sum(self.payouts.values())
        return self.posted() - held - self.receivable() - self.floor


class Invoice:
    def __init__(self, account, currency, amount):
        self.account = account
        self.currency = currency
        self.amount = amount
        self.issued = False
        self.void = False
        self.taken_back = False
        self.payments = {}

    def paid(self):
        return sum(self.payments.values())

    def receivable(self):
        return 0 if self.taken_back else self.amount - self.paid()


class Lot:
    def __init__(self, terms, minor):
        self.terms = terms
        self.expires_at = terms["expires_at"]
        self.left = minor
        self.held = 0
        self.expired = False


class Serving:
    def __init__(self, plan):
        self.plan = plan
        self.withdrawn = False
        self.withdrawals = set()
        self.reservations = {}
        self.offers = {
            offer["dish"]: {"portions": offer["portions"], "reserved": 0, "withdrawn": False} for offer in plan["offers"]
        }

    def is_withdrawn(self, dish):
        return self.withdrawn or (dish in self.offers and self.offers[dish]["withdrawn"])


class Recomputed(Finance):
    """The fold. Ids repeat across tenants at most by accident, so every key has its tenant in front."""

    def __init__(self):
        self.events = 0
        self.versions = Counter()
        self.commands = {}
        self.last_recorded = None
        self.orders = {}
        self.payments = {}
        self.accounts = {}
        self.servings = {}
        self.refused = Counter()
        self.takings = defaultdict(lambda: {"portions": 0, "minor": 0, "currency": None})
        self.suspense = Counter()
        self.clearing = Counter()
        self.breakage = Counter()
        self.transit = Counter()
        self.runs = {}
        self.invoices = {}
        self.leavers = defaultdict(Leavers)
        self.now = None
        self.about = None
        self.begin_finance()
        self.problem_count = 0
        self.problems = []

    # Reading.

    def read(self, lines):
        manifest = None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise Unreadable(f"line {number} is not JSON: {error}") from error
            if manifest is not None:
                raise Unreadable(f"line {number}: something stands behind the manifest")
            if "header" in row and "position" not in row:
                if number != 1:
                    raise Unreadable(f"line {number}: a header stands first or not at all")
                continue
            if "manifest" in row and "position" not in row:
                manifest = row["manifest"]
                continue
            try:
                self.take(row)
            except (KeyError, IndexError, TypeError, AttributeError, ValueError, Unreadable) as error:
                raise Unreadable(f"line {number}: {type(error).__name__} {error}") from error
        if isinstance(manifest, dict) and isinstance(manifest.get("count"), int):
            self.check(manifest["count"] == self.events, f"the manifest says {manifest['count']} events")

    def check(self, holds, problem):
        if not holds:
            self.problem_count += 1
            if len(self.problems) < MOST_SHOWN:
                self.problems.append(f"position {self.events}: {problem}")
        return holds

    def take(self, row):
        self.events += 1
        stream = row["stream"]
        tenant, kind, key = stream["tenant"], stream["kind"], stream["key"]
        name, content = named(row["payload"])
        self.now = row["occurred_at"]
        self.about = row["metadata"].get("correlation")
        self.check_row(row, (tenant, kind, key), name)
        if kind in ("wallet", "subsidy", "company"):
            self.of_account(tenant, f"{kind}:{key}", name, content)
        elif kind == "order":
            self.of_order(tenant, key, name, content)
        elif kind == "payment":
            self.of_payment(tenant, key, name, content)
        elif kind == "serving":
            self.of_serving(tenant, key, name, content)
        elif kind == "grant":
            self.of_run(tenant, key, name, content)
        elif kind == "invoice":
            self.of_invoice(tenant, key, name, content)
        elif kind == "top_up":
            self.of_top_up(tenant, key, name, content)
        elif kind == "payout":
            self.of_payout(tenant, key, name, content)
        elif kind == "correction":
            self.of_correction(tenant, key, name, content)
        elif kind == "policy":
            self.leavers[tenant].of_policy(key, name, content)
        elif kind == "diner":
            self.leavers[tenant].of_diner(key, name, content)
        else:
            # What these say moves no money and no portions.
            known = kind in ("menu", "books")
            self.check(known, f"a stream of the unknown kind {kind}")

    def check_row(self, row, stream, name):
        self.check(row["position"] == self.events, f"position {row['position']} is out of order")
        self.versions[stream] += 1
        expected = self.versions[stream]
        self.check(row["version"] == expected, f"{stream} is at {expected}, the event says {row['version']}")
        aggregate, _, written = row["type"].partition(".")
        self.check(written == name, f"type {row['type']} over a payload {name}")
        expected = "account" if stream[1] in ("wallet", "subsidy", "company") else stream[1]
        self.check(aggregate == expected, f"type {row['type']} in a stream of kind {stream[1]}")
        recorded = instant(row["recorded_at"])
        self.check(self.last_recorded is None or recorded >= self.last_recorded, "recorded_at went back")
        self.last_recorded = recorded
        # A command decides once: all its events in a stream stand together.
        command = (stream, row["metadata"]["command"])
        last = self.commands.get(command)
        self.check(last is None or last == self.events - 1, f"command {command[1]} was carried out twice")
        self.commands[command] = self.events

    # Accounts: each from its own stream alone.

    def of_account(self, tenant, account_id, name, content):
        if name == "Opened":
            self.check((tenant, account_id) not in self.accounts, f"{account_id} was opened twice")
            self.accounts[tenant, account_id] = Account(content["currency"])
            return
        account = self.accounts.get((tenant, account_id))
        if not self.check(account, f"{name} of {account_id}, which was never opened"):
            return
        for money in ("amount", "by", "floor"):
            if money in content:
                same = content[money]["currency"] == account.currency
                self.check(same, f"{name} of {account_id} in {content[money]['currency']}")
        if name in ("Deposited", "Adjusted"):
            field, once = ("amount", "deposit") if name == "Deposited" else ("by", "adjustment")
            self.once(account, account_id, name, content[once])
            if name == "Deposited":
                self.deposit(tenant, account, content)
            else:
                account.adjustments += content[field]["minor"]
                self.suspense[tenant, account.currency] -= content[field]["minor"]
                self.adjusted[tenant, self.about][account_id] += content[field]["minor"]
        elif name in ("PayoutHeld", "PaidOut", "PayoutReleased"):
            self.of_payout_on_account(account, account_id, name, content)
        elif name in ("Held", "Captured", "Released"):
            self.of_hold(tenant, account, account_id, name, content)
        elif name in ("Granted", "Lapsed", "Allocated", "TakenBack"):
            self.of_grant(tenant, account, account_id, name, content)
        elif name in ("Refunded", "RefundLapsed", "RefundDiverted"):
            self.of_credit(tenant, account, account_id, name, content)
        elif name in ("Invoiced", "InvoicePaid", "InvoiceVoided"):
            self.of_billing(tenant, account, account_id, name, content)
        elif name == "DisclosureSet":
            pass  # What a company sees moves no money.
        elif name == "FloorSet":
            account.floor = content["floor"]["minor"]
        elif name in ("Frozen", "Unfrozen"):
            account.frozen = name == "Frozen"
        elif name == "Closed":
            held = account.holds or account.payouts or account.receivable()
            self.check(not account.posted() and not held, f"{account_id} closed with money on it")
            account.closed = True
        else:
            self.check(False, f"an account has no event {name}")

    def once(self, account, account_id, name, key):
        self.check((name, key) not in account.seen, f"{name} {key} twice on {account_id}")
        account.seen.add((name, key))

    def of_hold(self, tenant, account, account_id, name, content):
        hold = content["hold"]
        if name == "Held":
            self.once(account, account_id, name, hold)
            self.check(not account.frozen and not account.closed, f"{account_id} held {hold} while shut")
            account.holds[hold] = content["amount"]["minor"]
            if content.get("lot"):
                self.hold_lot(account, account_id, hold, content)
            self.check(account.available() >= 0, f"{account_id} fell {-account.available()} below its floor")
        elif name == "Captured":
            held = account.holds.pop(hold, None)
            amount = content["amount"]["minor"]
            self.check(held == amount, f"{account_id} captured {amount} of {hold}, held was {held}")
            account.captures += amount
            self.unhold_lot(account, hold, amount, amount)
            self.money_in(tenant, hold.partition("/")[0], int(hold.partition("/")[2]), amount)
        else:
            self.unhold_lot(account, hold, account.holds.pop(hold, None) or 0, 0)

    # Lots of a subsidy: each pays in its time, and never more than it has.

    def hold_lot(self, account, account_id, hold, content):
        lot, amount = account.lots.get(content["lot"]), content["amount"]["minor"]
        if not self.check(lot, f"{account_id} held {hold} of a lot that it was not granted"):
            return
        lot.held += amount
        account.lot_of_hold[hold] = lot
        self.check(not lot.expired and lot.held <= lot.left, f"{account_id} held {hold}, more than its lot has")
        self.check(instant(self.now) < instant(lot.expires_at), f"{account_id} held {hold} of a lot past its time")

    def unhold_lot(self, account, hold, amount, spent):
        lot = account.lot_of_hold.pop(hold, None)
        if lot:
            lot.held -= amount
            lot.left -= spent

    def of_grant(self, tenant, account, account_id, name, content):
        amount, currency = content["amount"]["minor"], account.currency
        if name == "Granted":
            self.once(account, account_id, name, content["lot"])
            account.granted += amount
            account.lots[content["lot"]] = Lot(content["terms"], amount)
            self.transit[tenant, content["terms"]["run"], currency] -= amount
        elif name == "Lapsed":
            lot = account.lots.get(content["lot"])
            if not self.check(lot, f"a lot of {account_id} lapsed that it was not granted"):
                return
            self.check(amount <= lot.left - lot.held, f"{account_id} lost {amount}, more than its lot had free")
            # An account that closes ends its lots with it, of which nothing is left.
            in_time = amount == 0 or instant(self.now) >= instant(lot.expires_at)
            diner = account_id.partition(":")[2]
            in_time = in_time or self.leavers[tenant].may_clear(diner, lot.terms, self.now)
            self.check(in_time, f"a lot of {account_id} lapsed before its time")
            lot.expired, lot.left = True, lot.held
            account.lapsed += amount
            self.breakage[tenant, currency] += amount
        elif name == "Allocated":
            self.once(account, account_id, name, (content["run"], content["batch"]))
            account.allocated += amount
            self.transit[tenant, content["run"], currency] += amount
            self.check(account.available() >= 0, f"{account_id} granted more than it has")
        else:
            self.once(account, account_id, name, content["run"])
            account.taken_back += amount
            self.transit[tenant, content["run"], currency] -= amount

    # Invoices: the account says what is asked, the invoice what is paid; each is checked by the other.

    def of_billing(self, tenant, account, account_id, name, content):
        invoice, amount = content["invoice"], content["amount"]["minor"]
        if name == "Invoiced":
            self.once(account, account_id, name, invoice)
            owed = -account.posted()
            self.check(amount == owed > 0, f"{account_id} was asked for {amount} and owed {owed}")
            self.check(content["number"] == len(account.invoiced) + 1, f"{account_id} skipped an invoice's number")
            account.invoiced[invoice] = amount
            self.invoices[tenant, invoice] = Invoice(account_id, account.currency, amount)
            return
        known = self.invoices.get((tenant, invoice))
        if not self.check(known and known.account == account_id, f"{name} of {invoice}, which {account_id} was not asked"):
            return
        if name == "InvoicePaid":
            self.once(account, account_id, name, (invoice, content["payment"]))
            paid = known.payments.get(content["payment"])
            self.check(paid == amount, f"{account_id} was told {amount} paid of {invoice}, the invoice has {paid}")
            account.told_paid[invoice] += amount
        else:
            self.once(account, account_id, name, invoice)
            whole = known.void and amount == known.amount
            self.check(whole, f"{account_id} owes {amount} of {invoice} again, which is not void for that")
            account.void += amount
            known.taken_back = True

    def of_invoice(self, tenant, key, name, content):
        invoice = self.invoices.get((tenant, key))
        if not self.check(invoice, f"{name} of invoice {key}, which no account was asked for"):
            return
        if name == "Issued":
            self.check(content["amount"]["minor"] == invoice.amount, f"invoice {key} is not for what was asked")
            self.check(f"company:{content['company']}" == invoice.account, f"invoice {key} is to another company")
            invoice.issued = True
        elif name == "Paid":
            self.check(content["payment"] not in invoice.payments, f"invoice {key} was paid twice by one payment")
            invoice.payments[content["payment"]] = content["amount"]["minor"]
            over = invoice.paid() - invoice.amount
            self.check(over <= 0 and not invoice.void, f"invoice {key} was paid {over} too much, or is void")
        elif name == "Settled":
            self.check(invoice.paid() == invoice.amount, f"invoice {key} settled with {invoice.paid()} paid")
        elif name == "Voided":
            self.check(not invoice.payments, f"invoice {key} was voided after a payment")
            invoice.void = True
        else:
            self.check(name == "Booked", f"an invoice has no event {name}")

    def of_run(self, tenant, run, name, content):
        if name == "Begun":
            self.check((tenant, run) not in self.runs, f"run {run} began twice")
            self.runs[tenant, run] = content["currency"]
        elif name == "Finished":
            currency = self.runs.pop((tenant, run), None)
            left = self.transit[tenant, run, currency]
            self.check(currency and not left, f"run {run} ended with {left} in transit")

    def of_credit(self, tenant, account, account_id, name, content):
        payment, _, tender = content["hold"].partition("/")
        amount = content["amount"]["minor"]
        self.once(account, account_id, "Refunded", (content["refund"], content["hold"]))
        if name == "Refunded":
            account.refunds += amount
            if content.get("lot"):
                lot = account.lots.get(content["lot"])
                if self.check(lot and not lot.expired, f"{account_id} was refunded to a lot that is over"):
                    lot.left += amount
        elif name == "RefundLapsed":
            self.breakage[tenant, account.currency] += amount
        else:
            self.suspense[tenant, account.currency] += amount
        self.money_back(tenant, payment, int(tender), content["refund"], amount, content["from"])

    # Money of an order, whose payment bears its id.

    def money_in(self, tenant, payment_id, tender, amount):
        payment = self.payments.get((tenant, payment_id))
        order = self.orders.get((tenant, payment_id))
        if not self.check(payment and order, f"money for {payment_id}, which has no payment or order"):
            return
        payment.captured[tender] += amount
        planned = payment.started["tenders"][tender]["amount"]["minor"]
        self.check(payment.captured[tender] == planned, f"tender {tender} of {payment_id} was not taken as planned")
        order.paid_in += amount
        most = order.placed["total"]["minor"] + order.refunds_before()
        self.check(order.paid_in <= most, f"order {payment_id} was charged too much")

    def money_back(self, tenant, payment_id, tender, refund, amount, source):
        payment = self.payments.get((tenant, payment_id))
        order = self.orders.get((tenant, payment_id))
        if not self.check(payment and order, f"money back for {payment_id}, which has no payment or order"):
            return
        payment.given_back[tender] += amount
        excess = payment.given_back[tender] - payment.captured[tender]
        self.check(excess <= 0, f"tender {tender} of {payment_id} was given back {excess} too much")
        if refund != payment_id:  # Else a payment that was given up returns what a till had taken.
            begun = payment.refunds.get(refund)
            part = begun["parts"].pop(tender, None) if begun else None
            self.check(part == amount, f"refund {refund} of {payment_id}/{tender} gave {amount}, begun was {part}")
            fixed = order.refunds.get(refund, {}).get("from")
            self.check(fixed == source, f"refund {refund} came from {source}, the order says {fixed}")
        if source == "prepaid":
            order.back_from_prepaid += amount
        else:
            self.check(source.get("canteen") == order.placed["canteen"], f"refund {refund} from another canteen")
            order.back_from_canteen += amount

    # Payments.

    def of_payment(self, tenant, payment_id, name, content):
        if name == "Started":
            order = self.orders.get((tenant, content["order"]))
            self.check(content["order"] == payment_id and order, f"payment {payment_id} is of no order")
            planned = sum(tender["amount"]["minor"] for tender in content["tenders"])
            total = content["total"]["minor"]
            self.check(planned == total, f"the tenders of {payment_id} add up to {planned}, not {total}")
            self.check(not order or order.placed["total"] == content["total"], f"payment {payment_id} of another total")
            self.payments[tenant, payment_id] = Payment(content)
            return
        payment = self.payments.get((tenant, payment_id))
        if not self.check(payment, f"{name} of payment {payment_id}, which never started"):
            return
        if name in ("Held", "Captured", "Released"):
            turn = {"Held": ("Planned",), "Captured": ("Held",), "Released": ("Planned", "Held")}[name]
            self.check(payment.stage in turn, f"payment {payment_id} became {name} from {payment.stage}")
            payment.stage = name
            if name == "Captured":
                self.check_captured(payment_id, payment)
        elif name == "Asked":
            tender = payment.started["tenders"][content["tender"]]
            self.check(content["tender"] not in payment.asked, f"tender {content['tender']} of {payment_id} is asked twice")
            self.check(tender["amount"] == content["amount"], f"{payment_id} asks for another amount than it planned")
            payment.asked.add(content["tender"])
        elif name in ("OutcomeUnknown", "Failed", "TradeClosed"):
            self.check(content["tender"] in payment.asked, f"{name} of {payment_id}, which asked nobody")
        elif name == "PayBackAsked":
            key = content["refund"], content["tender"]
            self.check(key not in payment.backs, f"refund {key} of {payment_id} is asked for twice")
            payment.backs[key] = content["amount"]
        elif name == "PayBackUnknown":
            key = content["refund"], content["tender"]
            self.check(key in payment.backs, f"{name} of {payment_id}, which asked for nothing back")
        elif name == "PayBackDiverted":
            amount = content["amount"]
            self.check_asked_back(payment_id, payment, content)
            self.suspense[tenant, amount["currency"]] += amount["minor"]
            self.money_back(tenant, payment_id, content["tender"], content["refund"], amount["minor"], content["from"])
        elif name == "Mispaid":
            amount = content["amount"]
            self.check(content["tender"] in payment.asked, f"money for {payment_id} that nobody asked for")
            asked = payment.started["tenders"][content["tender"]]["amount"]
            self.check(amount != asked, f"{payment_id} was paid as it was asked for")
            self.clearing[tenant, content["provider"], amount["currency"]] -= amount["minor"]
            self.suspense[tenant, amount["currency"]] += amount["minor"]
        elif name == "Paid":
            if content["provider"] in REMOTE:
                self.check(content["tender"] in payment.asked, f"money for {payment_id} that nobody asked for")
            self.clearing[tenant, content["provider"], content["amount"]["currency"]] -= content["amount"]["minor"]
            self.money_in(tenant, payment_id, content["tender"], content["amount"]["minor"])
        elif name == "PaidBack":
            amount = content["amount"]["minor"]
            if content["provider"] in REMOTE:
                self.check_asked_back(payment_id, payment, content)
            self.clearing[tenant, content["provider"], content["amount"]["currency"]] += amount
            self.money_back(tenant, payment_id, content["tender"], content["refund"], amount, content["from"])
        elif name == "RefundBegun":
            self.begin_refund(payment_id, payment, content)
        elif name == "RefundSettled":
            begun = payment.refunds.get(content["refund"])
            self.check(begun and not begun["parts"], f"refund {content['refund']} settled before its money was back")
            if begun:
                begun["settled"] = True
        elif name == "Extended":
            self.extend(payment_id, payment, content)
        elif name in ("ExtensionCaptured", "ExtensionGivenUp"):
            self.end_extension(payment_id, payment, content["extension"], name)
        else:
            self.check(False, f"a payment has no event {name}")

    def extend(self, payment_id, payment, content):
        """A change adds tenders after those that there are."""
        known, added = payment.started["tenders"], content["tenders"]
        self.check(payment.stage == "Captured", f"payment {payment_id} was extended while {payment.stage}")
        self.check(content["first"] == len(known), f"{payment_id} has {len(known)} tenders, new are from {content['first']}")
        self.check(content["extension"] not in payment.extensions, f"{payment_id} was extended twice by one change")
        amount = sum(tender["amount"]["minor"] for tender in added)
        self.check(amount == content["amount"]["minor"], f"what was added to {payment_id} adds up to {amount}")
        payment.started = {**payment.started, "tenders": known + added}
        tenders = range(content["first"], content["first"] + len(added))
        payment.extensions[content["extension"]] = {"amount": amount, "tenders": tenders, "stage": None}

    def end_extension(self, payment_id, payment, change, name):
        if name == "ExtensionGivenUp" and change not in payment.extensions:
            payment.extensions[change] = {"amount": 0, "tenders": range(0), "stage": name}
            return
        known = payment.extensions.get(change)
        if not self.check(known and known["stage"] is None, f"{name} of {payment_id}, which is not being extended"):
            return
        taken = sum(payment.captured[tender] for tender in known["tenders"])
        due = known["amount"] if name == "ExtensionCaptured" else 0
        self.check(taken == due, f"{name} of {payment_id}, of which {taken} was taken and not {due}")
        known["stage"] = name

    def check_asked_back(self, payment_id, payment, content):
        """A provider gives back once what it was asked for."""
        asked = payment.backs.pop((content["refund"], content["tender"]), None)
        self.check(asked == content["amount"], f"a provider gave {content['amount']} of {payment_id}, asked was {asked}")

    def check_captured(self, payment_id, payment):
        taken, total = sum(payment.captured.values()), payment.started["total"]["minor"]
        self.check(taken == total, f"payment {payment_id} is captured with {taken} of {total}")

    def begin_refund(self, payment_id, payment, content):
        parts = {part["tender"]: part["amount"]["minor"] for part in content["parts"]}
        amount = content["amount"]["minor"]
        self.check(sum(parts.values()) == amount, f"refund {content['refund']} does not add up to {amount}")
        self.check(content["refund"] not in payment.refunds, f"refund {content['refund']} began twice")
        payment.refunds[content["refund"]] = {"parts": parts, "settled": False}
        for tender, part in parts.items():
            payment.begun[tender] += part
            excess = payment.begun[tender] - payment.captured[tender]
            self.check(excess <= 0, f"refunds of {payment_id}/{tender} exceed what was captured by {excess}")

    # Orders.

    def of_order(self, tenant, order_id, name, content):
        order = self.orders.get((tenant, order_id))
        if name == "Placed":
            self.check(order is None, f"order {order_id} was placed twice")
            lines = sum(line["quantity"] * line["unit_price"]["minor"] for line in content["lines"])
            total = content["total"]["minor"]
            self.check(lines == total, f"the lines of {order_id} add up to {lines}, not {total}")
            order = self.orders[tenant, order_id] = Order(content)
        if not self.check(order, f"{name} of order {order_id}, which was never placed"):
            return
        if name == "RefundBegun":
            self.refund_lines(tenant, order_id, order, content)
            return
        if name == "RefundSettled":
            known = order.refunds.get(content["refund"])
            if self.check(known, f"order {order_id} has no refund {content['refund']}"):
                known["settled"] = True
            return
        if name in ("ChangeBegun", "Changed", "ChangeRefused", "ChangeSettled"):
            self.change(tenant, order_id, order, name, content)
            return
        self.check(order.change is None, f"{name} of order {order_id}, which is being changed")
        status = NEXT_STATUS.get(order.status, {}).get(name)
        if (order.status, name) == ("CONFIRMED", "PickedUp"):
            self.check(order.placed["channel"] == "walk_up", f"order {order_id} was handed over before it was ready")
        if not self.check(status, f"order {order_id} is {order.status}, then came {name}"):
            return
        order.status = status
        if name == "Confirmed":
            self.confirm(tenant, order_id, order)
        elif name == "Refused":
            reason, _ = named(content)
            self.refused[tenant, REFUSAL_CODES.get(reason, reason)] += 1
        elif name in ("PickedUp", "NoShow"):
            earned = content["recognised"]["minor"]
            owed = order.placed["total"]["minor"] - order.refunds_begun()
            self.check(earned == owed, f"order {order_id} earned {earned}, its lines less refunds are {owed}")
            self.check(content["canteen"] == order.placed["canteen"], f"order {order_id} earned for another canteen")
            order.recognised += earned
            order.tax = Counter(parts_by_rate(content))
            due = order.tax_of_what_is_left()
            self.check(dict(order.tax) == due, f"order {order_id} took out tax {dict(order.tax)}, its lines have {due}")

    def change(self, tenant, order_id, order, name, content):
        if name == "ChangeBegun":
            self.check(order.status == "CONFIRMED", f"order {order_id} is changed while {order.status}")
            self.check(order.change is None, f"order {order_id} is changed twice at once")
            self.check(content["serving"] == order.placed["serving"], f"order {order_id} is changed in another serving")
            wanted = content["change"]
            lines = sum(line["quantity"] * line["unit_price"]["minor"] for line in wanted["lines"])
            self.check(lines == wanted["total"]["minor"], f"the new lines of {order_id} add up to {lines}")
            order.change = {"wanted": wanted, "made": None}
            return
        change = content["change"]
        known = order.change
        if not self.check(known and known["wanted"]["change"] == change, f"{name} of {order_id}, which nobody asked for"):
            return
        if name == "ChangeSettled":
            if self.check(known["made"], f"a change of order {order_id} was settled before it was decided"):
                self.check_difference(tenant, order_id, change, known)
            order.change = None
            return
        self.check(known["made"] is None, f"a change of order {order_id} was decided twice")
        known["made"] = name
        if name == "Changed":
            self.check(content == known["wanted"], f"order {order_id} was changed to what was not asked")
            self.put_lines(tenant, order, known, content)

    def put_lines(self, tenant, order, known, content):
        known["more"] = content["total"]["minor"] - (order.placed["total"]["minor"] - order.refunds_begun())
        for index, line in enumerate(order.placed["lines"]):
            sold = self.takings[tenant, line["dish"]]
            sold["portions"] -= line["quantity"] - order.portions_refunded[index]
            sold["minor"] -= line["quantity"] * line["unit_price"]["minor"] - order.money_refunded[index]
        for line in content["lines"]:
            self.sell(tenant, line, line["quantity"])
        order.placed = {**order.placed, "lines": content["lines"], "total": content["total"]}
        order.portions_refunded, order.money_refunded = Counter(), Counter()
        for refund in order.refunds.values():
            refund["before_change"] = True

    def check_difference(self, tenant, order_id, change, known):
        """What it costs more was taken; what it costs less was begun to be given back before."""
        payment = self.payments.get((tenant, order_id))
        extension = payment.extensions.get(change) if payment else None
        taken = extension["amount"] if extension and extension["stage"] == "ExtensionCaptured" else 0
        due = known.get("more", 0)
        self.check(taken == due, f"a change of {order_id} costs {due} more, taken was {taken}")
        self.check(not extension or extension["stage"], f"a change of {order_id} was settled before its money")

    def confirm(self, tenant, order_id, order):
        order.was_confirmed = True
        wanted = Counter()
        for line in order.placed["lines"]:
            wanted[line["dish"]] += line["quantity"]
            self.sell(tenant, line, line["quantity"])
        serving = self.servings.get((tenant, order.placed["serving"]))
        if not self.check(serving, f"order {order_id} is of no serving"):
            return
        # What is withdrawn meanwhile has lost its reservation and is refunded by its own process.
        wanted = {dish: count for dish, count in wanted.items() if not serving.is_withdrawn(dish)}
        reserved = serving.reservations.get(order_id, {})
        reserved = {dish: count for dish, count in reserved.items() if not serving.is_withdrawn(dish)}
        self.check(reserved == wanted, f"order {order_id} was confirmed over {reserved} for {wanted}")

    def sell(self, tenant, line, quantity):
        sold = self.takings[tenant, line["dish"]]
        currency = line["unit_price"]["currency"]
        self.check(sold["currency"] in (None, currency), f"dish {line['dish']} sold in two currencies")
        sold["currency"] = currency
        sold["portions"] += quantity
        sold["minor"] += quantity * line["unit_price"]["minor"]

    def refund_lines(self, tenant, order_id, order, content):
        refund, lines = content["refund"], order.placed["lines"]
        self.check(refund not in order.refunds, f"refund {refund} of order {order_id} began twice")
        said = Counter()
        for part in content.get("amounts", []):
            said[part["line"]] += part["amount"]["minor"]
        taken = Counter(said)
        for count in content["lines"]:
            line = lines[count["line"]]
            if not said:
                taken[count["line"]] += count["quantity"] * line["unit_price"]["minor"]
            order.portions_refunded[count["line"]] += count["quantity"]
            over = order.portions_refunded[count["line"]] - line["quantity"]
            self.check(over <= 0, f"order {order_id} refunds {over} portions too many")
            if order.was_confirmed:
                self.takings[tenant, line["dish"]]["portions"] -= count["quantity"]
        for index, minor in taken.items():
            line = lines[index]
            order.money_refunded[index] += minor
            over = order.money_refunded[index] - line["quantity"] * line["unit_price"]["minor"]
            self.check(over <= 0, f"order {order_id} refunds {over} too much of line {index}")
            whole = order.portions_refunded[index] == line["quantity"]
            self.check(not whole or over == 0, f"order {order_id} keeps money of line {index}, whose portions are refunded")
            if order.was_confirmed:
                self.takings[tenant, line["dish"]]["minor"] -= minor
        worth = sum(taken.values())
        if content.get("reason") == "changed":
            wanted = order.change["wanted"]["total"]["minor"] if order.change else None
            self.check(wanted is not None and not taken, f"refund {refund} is of no change, or of lines")
            worth = order.placed["total"]["minor"] - order.refunds_begun() - (wanted or 0)
        amount = content["amount"]["minor"]
        self.check(worth == amount, f"refund {refund} is {amount} for lines worth {worth}")
        order.refunds[refund] = {"amount": amount, "from": content["from"], "settled": False, "before_change": False}
        if content.get("unearned"):
            self.unearn(order_id, order, refund, content["unearned"], amount)

    def unearn(self, order_id, order, refund, unearned, amount):
        """A refund after the meal: canteen and tax give up what they had, and it is in prepaid again."""
        self.check(order.status in ("PICKED_UP", "NO_SHOW"), f"refund {refund} gives up what is not earned")
        self.check(unearned["canteen"] == order.placed["canteen"], f"refund {refund} from another canteen")
        order.unearned += amount
        order.tax.subtract(parts_by_rate(unearned))
        left, due = {rate: minor for rate, minor in order.tax.items() if minor}, order.tax_of_what_is_left()
        self.check(left == due, f"order {order_id} keeps tax {left} after refund {refund}, its lines have {due}")

    # Servings.

    def of_serving(self, tenant, serving_id, name, content):
        if name == "Published":
            self.check((tenant, serving_id) not in self.servings, f"serving {serving_id} was published twice")
            self.servings[tenant, serving_id] = Serving(content)
            return
        serving = self.servings.get((tenant, serving_id))
        if not self.check(serving, f"{name} of serving {serving_id}, which was never published"):
            return
        if name == "Reserved":
            portions = {portion["dish"]: portion["quantity"] for portion in content["portions"]}
            self.check(content["order"] not in serving.reservations, f"order {content['order']} reserved twice")
            self.check(not serving.withdrawn, f"serving {serving_id} is withdrawn, yet reserved")
            serving.reservations[content["order"]] = portions
            self.move(serving_id, serving, portions, 1)
        elif name == "Released":
            given = {portion["dish"]: portion["quantity"] for portion in content["portions"]}
            held = serving.reservations.pop(content["order"], {})
            self.check(given == held, f"order {content['order']} held {held} and gave back {given}")
            self.move(serving_id, serving, held, -1)
        elif name == "Widened":
            more = {portion["dish"]: portion["quantity"] for portion in content["portions"]}
            held = serving.reservations.get(content["order"])
            if self.check(held is not None, f"order {content['order']} holds nothing that could grow"):
                serving.reservations[content["order"]] = dict(Counter(held) + Counter(more))
            self.move(serving_id, serving, more, 1)
        elif name == "Narrowed":
            less = {portion["dish"]: portion["quantity"] for portion in content["portions"]}
            held = serving.reservations.get(content["order"], {})
            enough = all(held.get(dish, 0) >= quantity for dish, quantity in less.items())
            self.check(enough, f"order {content['order']} held {held} and gave back {less}")
            if held:
                serving.reservations[content["order"]] = dict(Counter(held) - Counter(less))
            self.move(serving_id, serving, less, -1)
        elif name == "PortionsSet":
            serving.offers[content["dish"]]["portions"] = content["portions"]
            self.move(serving_id, serving, {content["dish"]: 0}, 1)
        elif name == "DishWithdrawn":
            self.withdraw(serving_id, serving, content["orders"], content["dish"])
            serving.offers[content["dish"]]["withdrawn"] = True
        elif name == "Withdrawn":
            self.withdraw(serving_id, serving, content["orders"], None)
            serving.withdrawn = True
        elif name == "WithdrawalSettled":
            open_one = content["dish"] in serving.withdrawals
            self.check(open_one, f"serving {serving_id} settled a withdrawal that it has not open")
            serving.withdrawals.discard(content["dish"])
        else:
            self.check(name == "PriceSet", f"a serving has no event {name}")

    def withdraw(self, serving_id, serving, orders, dish):
        serving.withdrawals.add(dish)
        holders = {order for order, held in serving.reservations.items() if dish is None or dish in held}
        self.check(holders == set(orders), f"{len(holders)} orders held what {serving_id} withdrew from {len(orders)}")
        for order in holders:
            held = serving.reservations[order]
            gone = {one: count for one, count in held.items() if dish in (None, one)}
            self.move(serving_id, serving, gone, -1)
            kept = {one: count for one, count in held.items() if one not in gone}
            if kept:
                serving.reservations[order] = kept
            else:
                del serving.reservations[order]

    def move(self, serving_id, serving, portions, sign):
        for dish, quantity in portions.items():
            offer = serving.offers.get(dish)
            if not self.check(offer, f"serving {serving_id} does not offer {dish}"):
                continue
            self.check(sign < 0 or not quantity or not offer["withdrawn"], f"{dish} of {serving_id} sold when withdrawn")
            offer["reserved"] += sign * quantity
            bound = 0 <= offer["reserved"] <= offer["portions"]
            self.check(bound, f"{dish} of {serving_id}: {offer['reserved']} reserved of {offer['portions']}")

    # Results.

    def balances(self):
        """Each ledger account from its own sources, so that their sum is a check and no tautology."""
        books = Counter()
        for (tenant, account_id), account in self.accounts.items():
            books[tenant, account_id, account.currency] += account.posted()
            books[tenant, "bank", account.currency] += account.paid_out - account.from_bank
        for (tenant, _), order in self.orders.items():
            currency = order.placed["total"]["currency"]
            books[tenant, "prepaid", currency] += order.prepaid()
            for rate, minor in order.tax.items():
                books[tenant, f"tax:{rate}", currency] += minor
            earned = order.recognised - order.unearned - sum(order.tax.values()) - order.back_from_canteen
            books[tenant, f"canteen:{order.placed['canteen']}", currency] += earned
        for (tenant, account, currency), minor in self.moved.items():
            books[tenant, account, currency] += minor
        for (tenant, currency), minor in self.suspense.items():
            books[tenant, "suspense", currency] += minor
        for (tenant, currency), minor in self.breakage.items():
            books[tenant, "breakage", currency] += minor
        for (tenant, _), invoice in self.invoices.items():
            company = invoice.account.partition(":")[2]
            books[tenant, f"receivable:{company}", invoice.currency] -= invoice.receivable()
            books[tenant, "bank", invoice.currency] -= invoice.paid()
        for (tenant, run, currency), minor in self.transit.items():
            books[tenant, f"transit:{run}", currency] += minor
        for (tenant, provider, currency), minor in self.clearing.items():
            books[tenant, f"clearing:{provider}", currency] += minor
        return books

    def unfinished(self):
        """What a process has begun and not ended, one sentence each."""
        found = []
        for (tenant, order_id), order in self.orders.items():
            state = self.half_done(tenant, order_id, order)
            if state:
                found.append(f"order {order_id} is {order.status} and {state}")
        for (_, serving_id), serving in self.servings.items():
            for dish in serving.withdrawals:
                found.append(f"serving {serving_id} has not dealt with the orders of its withdrawn {dish or 'dishes'}")
        found += [f"the run of grants {run} is not finished" for (_, run) in self.runs]
        for (tenant, key), invoice in self.invoices.items():
            told = self.accounts[tenant, invoice.account].told_paid[key]
            if not invoice.issued or told != invoice.paid() or invoice.void != invoice.taken_back:
                found.append(f"invoice {key} and {invoice.account} do not agree yet")
        for (tenant, account_id), account in self.accounts.items():
            for hold in account.holds:
                order = self.orders.get((tenant, hold.partition("/")[0]))
                if order is None or order.status != "PLACED":
                    found.append(f"{account_id} still holds {hold}")
        return found + list(self.unfinished_finance())

    def half_done(self, tenant, order_id, order):
        payment = self.payments.get((tenant, order_id))
        serving = self.servings.get((tenant, order.placed["serving"]))
        reserved = serving and order_id in serving.reservations
        if order.status == "PLACED":
            waits = order.placed["terms"] == "at_counter" and payment and payment.stage == "Planned" and reserved
            return None if waits else "neither confirmed nor refused"
        ended = order.status in ("REFUSED", "EXPIRED", "CANCELLED")
        if not ended and (payment is None or payment.stage != "Captured"):
            return "not charged"
        if ended and reserved:
            return "still has its portions"
        if payment and ended and not order.was_confirmed and payment.stage != "Released":
            return "its payment is not given up"
        if order.change:
            return "is being changed"
        refunds = [*order.refunds.values(), *(payment.refunds.values() if payment else [])]
        if any(not refund["settled"] for refund in refunds):
            return "has a refund under way"
        if (ended or order.status in ("PICKED_UP", "NO_SHOW")) and order.prepaid():
            return f"has {order.prepaid()} left in prepaid"
        return None

    def result(self):
        balances = nested((tenant, account, currency, minor) for (tenant, account, currency), minor in self.balances().items())
        trial = Counter()
        for (tenant, _, currency), minor in self.balances().items():
            trial[tenant, currency] += minor
        for (tenant, currency), minor in trial.items():
            self.check(minor == 0, f"the books of {tenant} are off by {minor} {currency}")
        unfinished = self.unfinished()
        return {
            "events": self.events,
            "streams": len(self.versions),
            "totals": self.totals(),
            "orders": nested(count_by((tenant, order.status) for (tenant, _), order in self.orders.items())),
            "refused": nested((*key, count) for key, count in self.refused.items()),
            "takings": nested((tenant, dish, sold) for (tenant, dish), sold in self.takings.items()),
            "balances": balances,
            "trial_balance_minor": sum(trial.values()),
            "offers": nested(self.offers()),
            "unfinished": len(unfinished),
            "unfinished_first": unfinished[:MOST_SHOWN],
            "problems": self.problem_count,
            "problems_first": self.problems,
        }

    def totals(self):
        totals = defaultdict(lambda: {"orders_confirmed": 0, "portions": 0, "takings_minor": 0})
        for (tenant, _), order in self.orders.items():
            if order.was_confirmed:
                totals[tenant, order.placed["total"]["currency"]]["orders_confirmed"] += 1
        for (tenant, _), sold in self.takings.items():
            totals[tenant, sold["currency"]]["portions"] += sold["portions"]
            totals[tenant, sold["currency"]]["takings_minor"] += sold["minor"]
        return nested((*key, total) for key, total in totals.items())

    def offers(self):
        for (tenant, serving_id), serving in self.servings.items():
            for dish, offer in serving.offers.items():
                left = 0 if serving.is_withdrawn(dish) else offer["portions"] - offer["reserved"]
                yield tenant, serving_id, dish, {"portions": offer["portions"], "reserved": offer["reserved"], "left": left}


def count_by(keys):
    return ((*key, count) for key, count in Counter(keys).items())


def nested(rows):
    """Rows of keys and a value, as objects within objects, sorted."""
    tree = {}
    for *keys, last, value in sorted(rows, key=lambda row: [str(key) for key in row[:-1]]):
        branch = tree
        for key in keys:
            branch = branch.setdefault(key, {})
        branch[last] = value
    return tree
