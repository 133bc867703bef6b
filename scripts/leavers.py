"""Whose lots may end before their time: those of diners who have left, by terms that say so.

It knows the events' JSON and nothing of the program that wrote them. Python's standard library only.
"""

from datetime import datetime, timedelta

EAST = timedelta(hours=14)
"""How far ahead of UTC a policy's zone may be at most."""


class Leavers:
    """Of one tenant."""

    def __init__(self):
        self.company_of = {}
        self.clearing = set()
        self.employers = {}
        self.ended = {}

    def of_policy(self, policy, name, content):
        if name == "Opened":
            self.company_of[policy] = content["company"]
        elif name == "TermsSet" and content["terms"].get("cleared_on_leaving"):
            self.clearing.add((policy, content["version"]))

    def of_diner(self, diner, name, content):
        before = self.employers.get(diner)
        if name in ("Joined", "Moved"):
            if before and before != content["company"]:
                self.ended.setdefault((diner, before), content["from"])
            self.employers[diner] = content["company"]
            self.ended.pop((diner, content["company"]), None)
        elif name == "Left":
            self.ended[diner, before] = content["on"]

    def may_clear(self, diner, terms, now):
        """Whether the diner had left the company of a lot's policy by `now`, and its terms clear it then."""
        if (terms.get("policy"), terms.get("version")) not in self.clearing:
            return False
        on = self.ended.get((diner, self.company_of.get(terms["policy"])))
        today = datetime.fromisoformat(now[:19]) + EAST
        return on is not None and on <= today.date().isoformat()
