// Amounts as the service writes them, reckoned exactly: whole minor units in a BigInt, never a float.

export interface Money {
  readonly amount: string;
  readonly currency: string;
}

interface Exact {
  readonly units: bigint;
  readonly places: number;
}

function exact(amount: string): Exact {
  const [whole = "0", fraction = ""] = amount.split(".");
  return { units: BigInt(whole + fraction), places: fraction.length };
}

function written({ units, places }: Exact): string {
  const sign = units < 0n ? "-" : "";
  const digits = (units < 0n ? -units : units).toString().padStart(places + 1, "0");
  const at = digits.length - places;
  return sign + digits.slice(0, at) + (places > 0 ? `.${digits.slice(at)}` : "");
}

/** The sum of `parts`, each so many times, in the currency of the first. */
export function sum(parts: readonly { readonly money: Money; readonly times: number }[], currency: string): Money {
  const terms = parts.map(({ money, times }) => ({ ...exact(money.amount), times: BigInt(times) }));
  const places = Math.max(0, ...terms.map(term => term.places));
  const units = terms.reduce((all, term) => all + term.units * term.times * 10n ** BigInt(places - term.places), 0n);
  return { amount: written({ units, places }), currency: parts[0]?.money.currency ?? currency };
}

export function isZero({ amount }: Money): boolean {
  return exact(amount).units === 0n;
}

/** For people: with the currency's sign, and the whole part in groups of three. */
export function shown({ amount, currency }: Money): string {
  const sign = currency === "CNY" || currency === "JPY" ? "¥" : `${currency} `;
  const [whole = "0", fraction] = amount.replace("-", "").split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return `${amount.startsWith("-") ? "−" : ""}${sign}${grouped}${fraction === undefined ? "" : `.${fraction}`}`;
}
