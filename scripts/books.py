"""The fold behind recompute.py: an export's events, one by one, into books and a list of problems.

It knows the events' JSON and nothing of the program that wrote them. Python's standard library only.
"""

import json
from collections import Counter, defaultdict

MOST_SHOWN = 50
"""Problems, differences and unfinished things are counted all, but shown only up to here."""

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
        self.refunds = {}
        self.portions_refunded = Counter()

    def refunds_begun(self):
        return sum(refund["amount"] for refund in self.refunds.values())

    def prepaid(self):
        """What is paid for it and neither given back nor earned."""
        return self.paid_in - self.back_from_prepaid - self.recognised


class Payment:
    def __init__(self, started):
        self.started = started
        self.stage = "Planned"
        self.captured = Counter()
        self.given_back = Counter()
        self.begun = Counter()
        self.refunds = {}


class Account:
    def __init__(self, currency):
        self.currency = currency
        self.deposits = 0
        self.captures = 0
        self.refunds = 0
        self.adjustments = 0
        self.granted = 0
        self.allocated = 0
        self.taken_back = 0
        self.lapsed = 0
        self.lots = {}
        self.lot_of_hold = {}
        self.floor = 0
        self.frozen = False
        self.closed = False
        self.holds = {}
        self.seen = set()

    def posted(self):
        came = self.deposits + self.granted + self.taken_back + self.refunds + self.adjustments
        return came - self.captures - self.allocated - self.lapsed

    def available(self):
        return self.posted() - sum(self.holds.values()) - self.floor


class Lot:
    def __init__(self, terms, minor):
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


class Recomputed:
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
        self.now = None
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
        else:
            # What these say moves no money and no portions.
            known = kind in ("menu", "policy", "diner", "books")
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
                account.deposits += content[field]["minor"]
            else:
                account.adjustments += content[field]["minor"]
                self.suspense[tenant, account.currency] -= content[field]["minor"]
        elif name in ("Held", "Captured", "Released"):
            self.of_hold(tenant, account, account_id, name, content)
        elif name in ("Granted", "Lapsed", "Allocated", "TakenBack"):
            self.of_grant(tenant, account, account_id, name, content)
        elif name in ("Refunded", "RefundLapsed", "RefundDiverted"):
            self.of_credit(tenant, account, account_id, name, content)
        elif name == "FloorSet":
            account.floor = content["floor"]["minor"]
        elif name in ("Frozen", "Unfrozen"):
            account.frozen = name == "Frozen"
        elif name == "Closed":
            self.check(not account.posted() and not account.holds, f"{account_id} closed with money on it")
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
            self.check(instant(self.now) >= instant(lot.expires_at), f"a lot of {account_id} lapsed before its time")
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
        self.check(order.paid_in <= order.placed["total"]["minor"], f"order {payment_id} was charged too much")

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
        elif name == "Paid":
            self.clearing[tenant, content["provider"], content["amount"]["currency"]] -= content["amount"]["minor"]
            self.money_in(tenant, payment_id, content["tender"], content["amount"]["minor"])
        elif name == "PaidBack":
            amount = content["amount"]["minor"]
            self.clearing[tenant, content["provider"], content["amount"]["currency"]] += amount
            self.money_back(tenant, payment_id, content["tender"], content["refund"], amount, content["from"])
        elif name == "RefundBegun":
            self.begin_refund(payment_id, payment, content)
        elif name == "RefundSettled":
            begun = payment.refunds.get(content["refund"])
            self.check(begun and not begun["parts"], f"refund {content['refund']} settled before its money was back")
            if begun:
                begun["settled"] = True
        else:
            self.check(False, f"a payment has no event {name}")

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
        status = NEXT_STATUS.get(order.status, {}).get(name)
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
        worth = 0
        for count in content["lines"]:
            line = lines[count["line"]]
            worth += count["quantity"] * line["unit_price"]["minor"]
            order.portions_refunded[count["line"]] += count["quantity"]
            over = order.portions_refunded[count["line"]] - line["quantity"]
            self.check(over <= 0, f"order {order_id} refunds {over} portions too many")
            if order.was_confirmed:
                self.sell(tenant, line, -count["quantity"])
        amount = content["amount"]["minor"]
        self.check(worth == amount, f"refund {refund} is {amount} for lines worth {worth}")
        order.refunds[refund] = {"amount": amount, "from": content["from"], "settled": False}

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
            books[tenant, "bank", account.currency] -= account.deposits
        for (tenant, _), order in self.orders.items():
            currency = order.placed["total"]["currency"]
            books[tenant, "prepaid", currency] += order.prepaid()
            earned = order.recognised - order.back_from_canteen
            books[tenant, f"canteen:{order.placed['canteen']}", currency] += earned
        for (tenant, currency), minor in self.suspense.items():
            books[tenant, "suspense", currency] += minor
        for (tenant, currency), minor in self.breakage.items():
            books[tenant, "breakage", currency] += minor
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
        for (tenant, account_id), account in self.accounts.items():
            for hold in account.holds:
                order = self.orders.get((tenant, hold.partition("/")[0]))
                if order is None or order.status != "PLACED":
                    found.append(f"{account_id} still holds {hold}")
        return found

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
