// What the page says.

import type { AccountKind, Meal, OrderStatus, PlaceOrderMutation } from "tiffin-client";

import { shown } from "./money.js";

type Outcome = PlaceOrderMutation["placeOrder"];
export type Refusal = Exclude<Outcome, { readonly __typename: "Order" }>;

export const STATUS: Record<OrderStatus, string> = {
  PLACED: "待付款 To be paid",
  CONFIRMED: "已下单 Ordered",
  PREPARING: "制作中 Cooking",
  READY: "请取餐 Ready",
  PICKED_UP: "已取餐 Collected",
  NO_SHOW: "未取餐 Not collected",
  CANCELLED: "已取消 Cancelled",
  REFUSED: "未成交 Refused",
  EXPIRED: "已过期 Expired",
};

/** The way of an order that goes well. */
export const STEPS: readonly OrderStatus[] = ["CONFIRMED", "PREPARING", "READY", "PICKED_UP"];

export const MEAL: Record<Meal, string> = {
  BREAKFAST: "早餐 Breakfast",
  LUNCH: "午餐 Lunch",
  DINNER: "晚餐 Dinner",
  SNACK: "点心 Snack",
};

export const ACCOUNT: Record<AccountKind, string> = {
  WALLET: "钱包 Wallet",
  SUBSIDY: "餐补 Subsidy",
  COMPANY: "公司 Company",
};

export function clock(at: string, timeZone?: string): string {
  return new Intl.DateTimeFormat("zh-CN", { hour: "2-digit", minute: "2-digit", hour12: false, timeZone }).format(
    new Date(at),
  );
}

/** Why an order cannot be had, and what the diner can do. */
export function why(refusal: Refusal, nameOf: (dish: string) => string, timeZone: string): string {
  switch (refusal.__typename) {
    case "SoldOut":
      return refusal.offers
        .map(({ dish, left }) =>
          left > 0 ? `${nameOf(dish)}只剩 ${left} 份 · only ${left} left` : `${nameOf(dish)}已售罄 · sold out`,
        )
        .join("\n");
    case "PriceChanged":
      return [
        ...refusal.changes.map(({ dish, was, now }) => `${nameOf(dish)} ${shown(was)} → ${shown(now)}`),
        "价格变了，再点一次按新价下单 · The price has changed; tap again to order at the new one",
      ].join("\n");
    case "InsufficientFunds":
      return `余额不足，还差 ${shown(refusal.short)} · ${shown(refusal.short)} short`;
    case "Closed":
      return `已于 ${clock(refusal.at, timeZone)} 截止 · Ordering closed at ${clock(refusal.at, timeZone)}`;
    case "NotYetOpen":
      return `${clock(refusal.at, timeZone)} 开始点餐 · Ordering opens at ${clock(refusal.at, timeZone)}`;
    case "DinerLimit":
      return `每人限 ${refusal.limit} 份，已有 ${refusal.held} 份 · At most ${refusal.limit} each; you have ${refusal.held}`;
    case "AccountFrozen":
      return "账户已冻结，请联系财务 · Your account is frozen; ask finance";
    case "Withdrawn":
      return "本餐已取消 · This meal was withdrawn";
    case "NotOffered":
      return `这样点不了 · That cannot be ordered: ${refusal.message}`;
    case "TooLate":
      return "厨房已备餐 · The kitchen has locked";
    case "PaymentFailed":
      return "付款没有成功 · The payment failed";
  }
}
