// Made by generate.mjs of graphql/schema.graphql and documents/. Do not edit.

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends " $fragmentName" | "__typename" ? T[P] : never };
import type { DocumentTypeDecoration } from "@graphql-typed-document-node/core";
/** A kind of account. */
export type AccountKind =
  /** A diner's own money. */
  | "WALLET"
  /** What a company gives a diner to eat for. */
  | "SUBSIDY"
  /** A company's funds. */
  | "COMPANY";

/** How far the kitchen is with an order. */
export type KitchenStage =
  /** Placed and not confirmed yet. The board does not list such orders. */
  | "WAITING"
  /** It is to be cooked. */
  | "CONFIRMED"
  /** It is being cooked. */
  | "PREPARING"
  /** It can be handed over. */
  | "READY";

/** A meal of the day. */
export type Meal =
  /** In the morning. */
  | "BREAKFAST"
  /** At noon. */
  | "LUNCH"
  /** In the evening. */
  | "DINNER"
  /** In between. */
  | "SNACK";

/** An amount of money. */
export type MoneyInput = {
  /** In major units (yuan, dollars); no more decimal places than the currency has. */
  readonly amount: string;
  /** An ISO 4217 code, such as CNY. */
  readonly currency: string;
};

/** Some portions of a dish. */
export type OrderLineInput = {
  /** A dish that the serving offers. */
  readonly dish: string;
  /** What is chosen of the dish's options. */
  readonly options?: ReadonlyArray<SelectionInput>;
  /** How many portions, 1 to 1000. */
  readonly quantity: number;
  /**
   * What the diner was shown for one portion, options included: if it costs something else now,
   * the order is refused as PriceChanged. If it is not said, any price will do.
   */
  readonly unitPrice?: MoneyInput | null | undefined;
};

/** How far an order is. */
export type OrderStatus =
  /** It waits to be paid. */
  | "PLACED"
  /** Its portions are reserved and its money is held or taken. */
  | "CONFIRMED"
  /** The kitchen is at it. */
  | "PREPARING"
  /** It can be collected. */
  | "READY"
  /** It was collected. */
  | "PICKED_UP"
  /** Nobody came for it. */
  | "NO_SHOW"
  /** It was given up before the meal, and refunded. */
  | "CANCELLED"
  /** It could not be had. */
  | "REFUSED"
  /** It was not paid in time. */
  | "EXPIRED";

/** How a new order is to be paid. */
export type PayWith =
  /** From the diner's subsidy, then the wallet. */
  | "BALANCES"
  /** In money at the counter, within 15 minutes. */
  | "AT_COUNTER"
  /** From the diner's subsidy and wallet, and what they lack by WeChat Pay within 15 minutes. */
  | "WECHAT_PAY"
  /** From the diner's subsidy and wallet, and what they lack by Alipay within 15 minutes. */
  | "ALIPAY";

/** An order as it is asked for. */
export type PlaceOrderInput = {
  /**
   * Whose order it is, when staff sell at the counter; it is not bound by the window or the limit
   * a diner. Diners leave it out.
   */
  readonly diner?: string | null | undefined;
  /**
   * Whether staff hand it over at once: order, payment and pickup in one. Money at the counter is then in
   * the till already.
   */
  readonly handOver?: boolean;
  /** What is asked for, 1 to 50 lines. */
  readonly lines: ReadonlyArray<OrderLineInput>;
  /** How it is to be paid. */
  readonly payWith?: PayWith;
  /** Of which serving. */
  readonly serving: string;
};

/** Why an order could not be had. */
export type RefusalReason =
  /** Less was left than was asked. */
  | "SOLD_OUT"
  /** Ordering had closed. */
  | "CLOSED"
  /** Ordering had not opened yet. */
  | "NOT_YET_OPEN"
  /** A price was not the one that was shown. */
  | "PRICE_CHANGED"
  /** The diner would have held too many portions. */
  | "DINER_LIMIT"
  /** The diner's accounts did not have enough. */
  | "INSUFFICIENT_FUNDS"
  /** The diner's account is frozen. */
  | "ACCOUNT_FROZEN"
  /** The dish, or the serving, was withdrawn. */
  | "WITHDRAWN"
  /** The dish or its options are not on offer. */
  | "NOT_OFFERED"
  /** The kitchen had locked before the portions were reserved. */
  | "TOO_LATE"
  /** The provider refused the payment, or gave it up. */
  | "PAYMENT_FAILED";

/** A choice of an option group. */
export type SelectionInput = {
  /** The choice's name. */
  readonly choice: string;
  /** The option group's name. */
  readonly group: string;
};

export type MyBalancesQueryVariables = Exact<{ [key: string]: never }>;

export type MyBalancesQuery = {
  readonly myBalances: ReadonlyArray<{
    readonly id: string;
    readonly kind: AccountKind;
    readonly frozen: boolean;
    readonly posted: { readonly amount: string; readonly currency: string };
    readonly held: { readonly amount: string; readonly currency: string };
    readonly available: { readonly amount: string; readonly currency: string };
  }>;
};

export type TicketFieldsFragment = {
  readonly order: string;
  readonly stage: KitchenStage;
  readonly placedAt: string;
  readonly readyAt: string | null;
  readonly pickupCode: string | null;
  readonly lines: ReadonlyArray<{
    readonly dish: string;
    readonly name: string;
    readonly quantity: number;
    readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
  }>;
};

export type KitchenBoardSubscriptionVariables = Exact<{
  serving: string;
  after?: string | null | undefined;
}>;

export type KitchenBoardSubscription = {
  readonly kitchenBoard: {
    readonly cursor: string;
    readonly whole: boolean;
    readonly gone: ReadonlyArray<string>;
    readonly tickets: ReadonlyArray<{
      readonly order: string;
      readonly stage: KitchenStage;
      readonly placedAt: string;
      readonly readyAt: string | null;
      readonly pickupCode: string | null;
      readonly lines: ReadonlyArray<{
        readonly dish: string;
        readonly name: string;
        readonly quantity: number;
        readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
      }>;
    }>;
  };
};

export type PrepareMutationVariables = Exact<{
  key: string;
  order: string;
}>;

export type PrepareMutation = {
  readonly prepare: {
    readonly order: {
      readonly id: string;
      readonly status: OrderStatus;
      readonly placedAt: string;
      readonly lockAt: string;
      readonly payBy: string;
      readonly pickupCode: string | null;
      readonly paymentCode: string | null;
      readonly refusal: RefusalReason | null;
      readonly total: { readonly amount: string; readonly currency: string };
      readonly refunded: { readonly amount: string; readonly currency: string };
      readonly lines: ReadonlyArray<{
        readonly dish: string;
        readonly name: string;
        readonly quantity: number;
        readonly unitPrice: { readonly amount: string; readonly currency: string };
        readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
      }>;
      readonly serving: {
        readonly id: string;
        readonly date: string;
        readonly meal: Meal;
        readonly canteen: { readonly name: string };
      };
    };
  };
};

export type MarkReadyMutationVariables = Exact<{
  key: string;
  order: string;
}>;

export type MarkReadyMutation = {
  readonly markReady: {
    readonly order: {
      readonly id: string;
      readonly status: OrderStatus;
      readonly placedAt: string;
      readonly lockAt: string;
      readonly payBy: string;
      readonly pickupCode: string | null;
      readonly paymentCode: string | null;
      readonly refusal: RefusalReason | null;
      readonly total: { readonly amount: string; readonly currency: string };
      readonly refunded: { readonly amount: string; readonly currency: string };
      readonly lines: ReadonlyArray<{
        readonly dish: string;
        readonly name: string;
        readonly quantity: number;
        readonly unitPrice: { readonly amount: string; readonly currency: string };
        readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
      }>;
      readonly serving: {
        readonly id: string;
        readonly date: string;
        readonly meal: Meal;
        readonly canteen: { readonly name: string };
      };
    };
  };
};

export type CollectMutationVariables = Exact<{
  key: string;
  order: string;
  code: string;
}>;

export type CollectMutation = {
  readonly collect: {
    readonly order: {
      readonly id: string;
      readonly status: OrderStatus;
      readonly placedAt: string;
      readonly lockAt: string;
      readonly payBy: string;
      readonly pickupCode: string | null;
      readonly paymentCode: string | null;
      readonly refusal: RefusalReason | null;
      readonly total: { readonly amount: string; readonly currency: string };
      readonly refunded: { readonly amount: string; readonly currency: string };
      readonly lines: ReadonlyArray<{
        readonly dish: string;
        readonly name: string;
        readonly quantity: number;
        readonly unitPrice: { readonly amount: string; readonly currency: string };
        readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
      }>;
      readonly serving: {
        readonly id: string;
        readonly date: string;
        readonly meal: Meal;
        readonly canteen: { readonly name: string };
      };
    };
  };
};

export type LunchQueryVariables = Exact<{
  date: string;
  after?: string | null | undefined;
}>;

export type LunchQuery = {
  readonly servings: {
    readonly nodes: ReadonlyArray<{
      readonly id: string;
      readonly date: string;
      readonly meal: Meal;
      readonly opensAt: string;
      readonly cutOff: string;
      readonly dinerLimit: number;
      readonly withdrawn: boolean;
      readonly canteen: { readonly id: string; readonly name: string; readonly zone: string };
      readonly offers: ReadonlyArray<{
        readonly dish: string;
        readonly name: string;
        readonly category: string;
        readonly left: number;
        readonly withdrawn: boolean;
        readonly price: { readonly amount: string; readonly currency: string };
        readonly options: ReadonlyArray<{
          readonly name: string;
          readonly min: number;
          readonly max: number;
          readonly choices: ReadonlyArray<{
            readonly name: string;
            readonly price: { readonly amount: string; readonly currency: string };
          }>;
        }>;
      }>;
    }>;
    readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
  };
};

export type ServingFieldsFragment = {
  readonly id: string;
  readonly date: string;
  readonly meal: Meal;
  readonly opensAt: string;
  readonly cutOff: string;
  readonly dinerLimit: number;
  readonly withdrawn: boolean;
  readonly canteen: { readonly id: string; readonly name: string; readonly zone: string };
  readonly offers: ReadonlyArray<{
    readonly dish: string;
    readonly name: string;
    readonly category: string;
    readonly left: number;
    readonly withdrawn: boolean;
    readonly price: { readonly amount: string; readonly currency: string };
    readonly options: ReadonlyArray<{
      readonly name: string;
      readonly min: number;
      readonly max: number;
      readonly choices: ReadonlyArray<{
        readonly name: string;
        readonly price: { readonly amount: string; readonly currency: string };
      }>;
    }>;
  }>;
};

export type OfferFieldsFragment = {
  readonly dish: string;
  readonly name: string;
  readonly category: string;
  readonly left: number;
  readonly withdrawn: boolean;
  readonly price: { readonly amount: string; readonly currency: string };
  readonly options: ReadonlyArray<{
    readonly name: string;
    readonly min: number;
    readonly max: number;
    readonly choices: ReadonlyArray<{
      readonly name: string;
      readonly price: { readonly amount: string; readonly currency: string };
    }>;
  }>;
};

export type MoneyFieldsFragment = { readonly amount: string; readonly currency: string };

export type PortionsLeftSubscriptionVariables = Exact<{
  serving: string;
  after?: string | null | undefined;
}>;

export type PortionsLeftSubscription = {
  readonly portionsLeft: {
    readonly cursor: string;
    readonly withdrawn: boolean;
    readonly offers: ReadonlyArray<{
      readonly dish: string;
      readonly name: string;
      readonly category: string;
      readonly left: number;
      readonly withdrawn: boolean;
      readonly price: { readonly amount: string; readonly currency: string };
      readonly options: ReadonlyArray<{
        readonly name: string;
        readonly min: number;
        readonly max: number;
        readonly choices: ReadonlyArray<{
          readonly name: string;
          readonly price: { readonly amount: string; readonly currency: string };
        }>;
      }>;
    }>;
  };
};

export type OrderFieldsFragment = {
  readonly id: string;
  readonly status: OrderStatus;
  readonly placedAt: string;
  readonly lockAt: string;
  readonly payBy: string;
  readonly pickupCode: string | null;
  readonly paymentCode: string | null;
  readonly refusal: RefusalReason | null;
  readonly total: { readonly amount: string; readonly currency: string };
  readonly refunded: { readonly amount: string; readonly currency: string };
  readonly lines: ReadonlyArray<{
    readonly dish: string;
    readonly name: string;
    readonly quantity: number;
    readonly unitPrice: { readonly amount: string; readonly currency: string };
    readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
  }>;
  readonly serving: {
    readonly id: string;
    readonly date: string;
    readonly meal: Meal;
    readonly canteen: { readonly name: string };
  };
};

type PlaceOrderOutcome_Order_Fragment = {
  readonly __typename: "Order";
  readonly id: string;
  readonly status: OrderStatus;
  readonly placedAt: string;
  readonly lockAt: string;
  readonly payBy: string;
  readonly pickupCode: string | null;
  readonly paymentCode: string | null;
  readonly refusal: RefusalReason | null;
  readonly total: { readonly amount: string; readonly currency: string };
  readonly refunded: { readonly amount: string; readonly currency: string };
  readonly lines: ReadonlyArray<{
    readonly dish: string;
    readonly name: string;
    readonly quantity: number;
    readonly unitPrice: { readonly amount: string; readonly currency: string };
    readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
  }>;
  readonly serving: {
    readonly id: string;
    readonly date: string;
    readonly meal: Meal;
    readonly canteen: { readonly name: string };
  };
};

type PlaceOrderOutcome_SoldOut_Fragment = {
  readonly __typename: "SoldOut";
  readonly message: string;
  readonly offers: ReadonlyArray<{ readonly dish: string; readonly asked: number; readonly left: number }>;
};

type PlaceOrderOutcome_Closed_Fragment = {
  readonly __typename: "Closed";
  readonly message: string;
  readonly at: string;
};

type PlaceOrderOutcome_NotYetOpen_Fragment = {
  readonly __typename: "NotYetOpen";
  readonly message: string;
  readonly at: string;
};

type PlaceOrderOutcome_PriceChanged_Fragment = {
  readonly __typename: "PriceChanged";
  readonly message: string;
  readonly changes: ReadonlyArray<{
    readonly dish: string;
    readonly was: { readonly amount: string; readonly currency: string };
    readonly now: { readonly amount: string; readonly currency: string };
  }>;
};

type PlaceOrderOutcome_DinerLimit_Fragment = {
  readonly __typename: "DinerLimit";
  readonly message: string;
  readonly limit: number;
  readonly held: number;
  readonly asked: number;
};

type PlaceOrderOutcome_InsufficientFunds_Fragment = {
  readonly __typename: "InsufficientFunds";
  readonly message: string;
  readonly short: { readonly amount: string; readonly currency: string };
};

type PlaceOrderOutcome_AccountFrozen_Fragment = { readonly __typename: "AccountFrozen"; readonly message: string };

type PlaceOrderOutcome_Withdrawn_Fragment = { readonly __typename: "Withdrawn"; readonly message: string };

type PlaceOrderOutcome_NotOffered_Fragment = {
  readonly __typename: "NotOffered";
  readonly message: string;
  readonly dish: string | null;
};

type PlaceOrderOutcome_TooLate_Fragment = { readonly __typename: "TooLate"; readonly message: string };

type PlaceOrderOutcome_PaymentFailed_Fragment = { readonly __typename: "PaymentFailed"; readonly message: string };

export type PlaceOrderOutcomeFragment =
  | PlaceOrderOutcome_Order_Fragment
  | PlaceOrderOutcome_SoldOut_Fragment
  | PlaceOrderOutcome_Closed_Fragment
  | PlaceOrderOutcome_NotYetOpen_Fragment
  | PlaceOrderOutcome_PriceChanged_Fragment
  | PlaceOrderOutcome_DinerLimit_Fragment
  | PlaceOrderOutcome_InsufficientFunds_Fragment
  | PlaceOrderOutcome_AccountFrozen_Fragment
  | PlaceOrderOutcome_Withdrawn_Fragment
  | PlaceOrderOutcome_NotOffered_Fragment
  | PlaceOrderOutcome_TooLate_Fragment
  | PlaceOrderOutcome_PaymentFailed_Fragment;

export type PlaceOrderMutationVariables = Exact<{
  key: string;
  input: PlaceOrderInput;
}>;

export type PlaceOrderMutation = {
  readonly placeOrder:
    | {
        readonly __typename: "Order";
        readonly id: string;
        readonly status: OrderStatus;
        readonly placedAt: string;
        readonly lockAt: string;
        readonly payBy: string;
        readonly pickupCode: string | null;
        readonly paymentCode: string | null;
        readonly refusal: RefusalReason | null;
        readonly total: { readonly amount: string; readonly currency: string };
        readonly refunded: { readonly amount: string; readonly currency: string };
        readonly lines: ReadonlyArray<{
          readonly dish: string;
          readonly name: string;
          readonly quantity: number;
          readonly unitPrice: { readonly amount: string; readonly currency: string };
          readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
        }>;
        readonly serving: {
          readonly id: string;
          readonly date: string;
          readonly meal: Meal;
          readonly canteen: { readonly name: string };
        };
      }
    | {
        readonly __typename: "SoldOut";
        readonly message: string;
        readonly offers: ReadonlyArray<{ readonly dish: string; readonly asked: number; readonly left: number }>;
      }
    | { readonly __typename: "Closed"; readonly message: string; readonly at: string }
    | { readonly __typename: "NotYetOpen"; readonly message: string; readonly at: string }
    | {
        readonly __typename: "PriceChanged";
        readonly message: string;
        readonly changes: ReadonlyArray<{
          readonly dish: string;
          readonly was: { readonly amount: string; readonly currency: string };
          readonly now: { readonly amount: string; readonly currency: string };
        }>;
      }
    | {
        readonly __typename: "DinerLimit";
        readonly message: string;
        readonly limit: number;
        readonly held: number;
        readonly asked: number;
      }
    | {
        readonly __typename: "InsufficientFunds";
        readonly message: string;
        readonly short: { readonly amount: string; readonly currency: string };
      }
    | { readonly __typename: "AccountFrozen"; readonly message: string }
    | { readonly __typename: "Withdrawn"; readonly message: string }
    | { readonly __typename: "NotOffered"; readonly message: string; readonly dish: string | null }
    | { readonly __typename: "TooLate"; readonly message: string }
    | { readonly __typename: "PaymentFailed"; readonly message: string };
};

export type ChangeOrderMutationVariables = Exact<{
  key: string;
  order: string;
  lines: ReadonlyArray<OrderLineInput> | OrderLineInput;
}>;

export type ChangeOrderMutation = {
  readonly changeOrder:
    | {
        readonly __typename: "Order";
        readonly id: string;
        readonly status: OrderStatus;
        readonly placedAt: string;
        readonly lockAt: string;
        readonly payBy: string;
        readonly pickupCode: string | null;
        readonly paymentCode: string | null;
        readonly refusal: RefusalReason | null;
        readonly total: { readonly amount: string; readonly currency: string };
        readonly refunded: { readonly amount: string; readonly currency: string };
        readonly lines: ReadonlyArray<{
          readonly dish: string;
          readonly name: string;
          readonly quantity: number;
          readonly unitPrice: { readonly amount: string; readonly currency: string };
          readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
        }>;
        readonly serving: {
          readonly id: string;
          readonly date: string;
          readonly meal: Meal;
          readonly canteen: { readonly name: string };
        };
      }
    | {
        readonly __typename: "SoldOut";
        readonly message: string;
        readonly offers: ReadonlyArray<{ readonly dish: string; readonly asked: number; readonly left: number }>;
      }
    | { readonly __typename: "Closed"; readonly message: string; readonly at: string }
    | { readonly __typename: "NotYetOpen"; readonly message: string; readonly at: string }
    | {
        readonly __typename: "PriceChanged";
        readonly message: string;
        readonly changes: ReadonlyArray<{
          readonly dish: string;
          readonly was: { readonly amount: string; readonly currency: string };
          readonly now: { readonly amount: string; readonly currency: string };
        }>;
      }
    | {
        readonly __typename: "DinerLimit";
        readonly message: string;
        readonly limit: number;
        readonly held: number;
        readonly asked: number;
      }
    | {
        readonly __typename: "InsufficientFunds";
        readonly message: string;
        readonly short: { readonly amount: string; readonly currency: string };
      }
    | { readonly __typename: "AccountFrozen"; readonly message: string }
    | { readonly __typename: "Withdrawn"; readonly message: string }
    | { readonly __typename: "NotOffered"; readonly message: string; readonly dish: string | null }
    | { readonly __typename: "TooLate"; readonly message: string }
    | { readonly __typename: "PaymentFailed"; readonly message: string };
};

export type CancelOrderMutationVariables = Exact<{
  key: string;
  order: string;
}>;

export type CancelOrderMutation = {
  readonly cancelOrder: {
    readonly order: {
      readonly id: string;
      readonly status: OrderStatus;
      readonly placedAt: string;
      readonly lockAt: string;
      readonly payBy: string;
      readonly pickupCode: string | null;
      readonly paymentCode: string | null;
      readonly refusal: RefusalReason | null;
      readonly total: { readonly amount: string; readonly currency: string };
      readonly refunded: { readonly amount: string; readonly currency: string };
      readonly lines: ReadonlyArray<{
        readonly dish: string;
        readonly name: string;
        readonly quantity: number;
        readonly unitPrice: { readonly amount: string; readonly currency: string };
        readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
      }>;
      readonly serving: {
        readonly id: string;
        readonly date: string;
        readonly meal: Meal;
        readonly canteen: { readonly name: string };
      };
    };
  };
};

export type MyOrdersQueryVariables = Exact<{
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;

export type MyOrdersQuery = {
  readonly myOrders: {
    readonly nodes: ReadonlyArray<{
      readonly id: string;
      readonly status: OrderStatus;
      readonly placedAt: string;
      readonly lockAt: string;
      readonly payBy: string;
      readonly pickupCode: string | null;
      readonly paymentCode: string | null;
      readonly refusal: RefusalReason | null;
      readonly total: { readonly amount: string; readonly currency: string };
      readonly refunded: { readonly amount: string; readonly currency: string };
      readonly lines: ReadonlyArray<{
        readonly dish: string;
        readonly name: string;
        readonly quantity: number;
        readonly unitPrice: { readonly amount: string; readonly currency: string };
        readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
      }>;
      readonly serving: {
        readonly id: string;
        readonly date: string;
        readonly meal: Meal;
        readonly canteen: { readonly name: string };
      };
    }>;
    readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
  };
};

export type OrderProgressSubscriptionVariables = Exact<{
  order: string;
  after?: string | null | undefined;
}>;

export type OrderProgressSubscription = {
  readonly orderProgress: {
    readonly cursor: string;
    readonly at: string;
    readonly order: {
      readonly id: string;
      readonly status: OrderStatus;
      readonly placedAt: string;
      readonly lockAt: string;
      readonly payBy: string;
      readonly pickupCode: string | null;
      readonly paymentCode: string | null;
      readonly refusal: RefusalReason | null;
      readonly total: { readonly amount: string; readonly currency: string };
      readonly refunded: { readonly amount: string; readonly currency: string };
      readonly lines: ReadonlyArray<{
        readonly dish: string;
        readonly name: string;
        readonly quantity: number;
        readonly unitPrice: { readonly amount: string; readonly currency: string };
        readonly options: ReadonlyArray<{ readonly group: string; readonly choice: string }>;
      }>;
      readonly serving: {
        readonly id: string;
        readonly date: string;
        readonly meal: Meal;
        readonly canteen: { readonly name: string };
      };
    };
  };
};

export class TypedDocumentString<TResult, TVariables>
  extends String
  implements DocumentTypeDecoration<TResult, TVariables>
{
  __apiType?: NonNullable<DocumentTypeDecoration<TResult, TVariables>["__apiType"]>;
  private value: string;
  public __meta__?: Record<string, unknown> | undefined;

  constructor(value: string, __meta__?: Record<string, unknown> | undefined) {
    super(value);
    this.value = value;
    this.__meta__ = __meta__;
  }

  override toString(): string & DocumentTypeDecoration<TResult, TVariables> {
    return this.value;
  }
}
export const TicketFieldsFragmentDoc = new TypedDocumentString(
  `
    fragment TicketFields on Ticket {
  order
  stage
  placedAt
  readyAt
  pickupCode
  lines {
    dish
    name
    quantity
    options {
      group
      choice
    }
  }
}
    `,
  { fragmentName: "TicketFields" },
) as unknown as TypedDocumentString<TicketFieldsFragment, unknown>;
export const MoneyFieldsFragmentDoc = new TypedDocumentString(
  `
    fragment MoneyFields on Money {
  amount
  currency
}
    `,
  { fragmentName: "MoneyFields" },
) as unknown as TypedDocumentString<MoneyFieldsFragment, unknown>;
export const OfferFieldsFragmentDoc = new TypedDocumentString(
  `
    fragment OfferFields on Offer {
  dish
  name
  category
  left
  withdrawn
  price {
    ...MoneyFields
  }
  options {
    name
    min
    max
    choices {
      name
      price {
        ...MoneyFields
      }
    }
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}`,
  { fragmentName: "OfferFields" },
) as unknown as TypedDocumentString<OfferFieldsFragment, unknown>;
export const ServingFieldsFragmentDoc = new TypedDocumentString(
  `
    fragment ServingFields on Serving {
  id
  date
  meal
  opensAt
  cutOff
  dinerLimit
  withdrawn
  canteen {
    id
    name
    zone
  }
  offers {
    ...OfferFields
  }
}
    fragment OfferFields on Offer {
  dish
  name
  category
  left
  withdrawn
  price {
    ...MoneyFields
  }
  options {
    name
    min
    max
    choices {
      name
      price {
        ...MoneyFields
      }
    }
  }
}
fragment MoneyFields on Money {
  amount
  currency
}`,
  { fragmentName: "ServingFields" },
) as unknown as TypedDocumentString<ServingFieldsFragment, unknown>;
export const OrderFieldsFragmentDoc = new TypedDocumentString(
  `
    fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}`,
  { fragmentName: "OrderFields" },
) as unknown as TypedDocumentString<OrderFieldsFragment, unknown>;
export const PlaceOrderOutcomeFragmentDoc = new TypedDocumentString(
  `
    fragment PlaceOrderOutcome on PlaceOrderResult {
  __typename
  ... on Order {
    ...OrderFields
  }
  ... on SoldOut {
    message
    offers {
      dish
      asked
      left
    }
  }
  ... on Closed {
    message
    at
  }
  ... on NotYetOpen {
    message
    at
  }
  ... on PriceChanged {
    message
    changes {
      dish
      was {
        ...MoneyFields
      }
      now {
        ...MoneyFields
      }
    }
  }
  ... on DinerLimit {
    message
    limit
    held
    asked
  }
  ... on InsufficientFunds {
    message
    short {
      ...MoneyFields
    }
  }
  ... on AccountFrozen {
    message
  }
  ... on Withdrawn {
    message
  }
  ... on NotOffered {
    message
    dish
  }
  ... on TooLate {
    message
  }
  ... on PaymentFailed {
    message
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}
fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}`,
  { fragmentName: "PlaceOrderOutcome" },
) as unknown as TypedDocumentString<PlaceOrderOutcomeFragment, unknown>;
export const MyBalancesDocument = new TypedDocumentString(`
    query MyBalances {
  myBalances {
    id
    kind
    posted {
      ...MoneyFields
    }
    held {
      ...MoneyFields
    }
    available {
      ...MoneyFields
    }
    frozen
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}`) as unknown as TypedDocumentString<MyBalancesQuery, MyBalancesQueryVariables>;
export const KitchenBoardDocument = new TypedDocumentString(`
    subscription KitchenBoard($serving: ID!, $after: String) {
  kitchenBoard(serving: $serving, after: $after) {
    cursor
    whole
    gone
    tickets {
      ...TicketFields
    }
  }
}
    fragment TicketFields on Ticket {
  order
  stage
  placedAt
  readyAt
  pickupCode
  lines {
    dish
    name
    quantity
    options {
      group
      choice
    }
  }
}`) as unknown as TypedDocumentString<KitchenBoardSubscription, KitchenBoardSubscriptionVariables>;
export const PrepareDocument = new TypedDocumentString(`
    mutation Prepare($key: UUID!, $order: ID!) {
  prepare(idempotencyKey: $key, order: $order) {
    order {
      ...OrderFields
    }
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}
fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}`) as unknown as TypedDocumentString<PrepareMutation, PrepareMutationVariables>;
export const MarkReadyDocument = new TypedDocumentString(`
    mutation MarkReady($key: UUID!, $order: ID!) {
  markReady(idempotencyKey: $key, order: $order) {
    order {
      ...OrderFields
    }
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}
fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}`) as unknown as TypedDocumentString<MarkReadyMutation, MarkReadyMutationVariables>;
export const CollectDocument = new TypedDocumentString(`
    mutation Collect($key: UUID!, $order: ID!, $code: String!) {
  collect(idempotencyKey: $key, order: $order, code: $code) {
    order {
      ...OrderFields
    }
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}
fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}`) as unknown as TypedDocumentString<CollectMutation, CollectMutationVariables>;
export const LunchDocument = new TypedDocumentString(`
    query Lunch($date: Date!, $after: String) {
  servings(date: $date, first: 20, after: $after) {
    nodes {
      ...ServingFields
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
    fragment ServingFields on Serving {
  id
  date
  meal
  opensAt
  cutOff
  dinerLimit
  withdrawn
  canteen {
    id
    name
    zone
  }
  offers {
    ...OfferFields
  }
}
fragment OfferFields on Offer {
  dish
  name
  category
  left
  withdrawn
  price {
    ...MoneyFields
  }
  options {
    name
    min
    max
    choices {
      name
      price {
        ...MoneyFields
      }
    }
  }
}
fragment MoneyFields on Money {
  amount
  currency
}`) as unknown as TypedDocumentString<LunchQuery, LunchQueryVariables>;
export const PortionsLeftDocument = new TypedDocumentString(`
    subscription PortionsLeft($serving: ID!, $after: String) {
  portionsLeft(serving: $serving, after: $after) {
    cursor
    withdrawn
    offers {
      ...OfferFields
    }
  }
}
    fragment OfferFields on Offer {
  dish
  name
  category
  left
  withdrawn
  price {
    ...MoneyFields
  }
  options {
    name
    min
    max
    choices {
      name
      price {
        ...MoneyFields
      }
    }
  }
}
fragment MoneyFields on Money {
  amount
  currency
}`) as unknown as TypedDocumentString<PortionsLeftSubscription, PortionsLeftSubscriptionVariables>;
export const PlaceOrderDocument = new TypedDocumentString(`
    mutation PlaceOrder($key: UUID!, $input: PlaceOrderInput!) {
  placeOrder(idempotencyKey: $key, input: $input) {
    ...PlaceOrderOutcome
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}
fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}
fragment PlaceOrderOutcome on PlaceOrderResult {
  __typename
  ... on Order {
    ...OrderFields
  }
  ... on SoldOut {
    message
    offers {
      dish
      asked
      left
    }
  }
  ... on Closed {
    message
    at
  }
  ... on NotYetOpen {
    message
    at
  }
  ... on PriceChanged {
    message
    changes {
      dish
      was {
        ...MoneyFields
      }
      now {
        ...MoneyFields
      }
    }
  }
  ... on DinerLimit {
    message
    limit
    held
    asked
  }
  ... on InsufficientFunds {
    message
    short {
      ...MoneyFields
    }
  }
  ... on AccountFrozen {
    message
  }
  ... on Withdrawn {
    message
  }
  ... on NotOffered {
    message
    dish
  }
  ... on TooLate {
    message
  }
  ... on PaymentFailed {
    message
  }
}`) as unknown as TypedDocumentString<PlaceOrderMutation, PlaceOrderMutationVariables>;
export const ChangeOrderDocument = new TypedDocumentString(`
    mutation ChangeOrder($key: UUID!, $order: ID!, $lines: [OrderLineInput!]!) {
  changeOrder(idempotencyKey: $key, order: $order, lines: $lines) {
    ...PlaceOrderOutcome
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}
fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}
fragment PlaceOrderOutcome on PlaceOrderResult {
  __typename
  ... on Order {
    ...OrderFields
  }
  ... on SoldOut {
    message
    offers {
      dish
      asked
      left
    }
  }
  ... on Closed {
    message
    at
  }
  ... on NotYetOpen {
    message
    at
  }
  ... on PriceChanged {
    message
    changes {
      dish
      was {
        ...MoneyFields
      }
      now {
        ...MoneyFields
      }
    }
  }
  ... on DinerLimit {
    message
    limit
    held
    asked
  }
  ... on InsufficientFunds {
    message
    short {
      ...MoneyFields
    }
  }
  ... on AccountFrozen {
    message
  }
  ... on Withdrawn {
    message
  }
  ... on NotOffered {
    message
    dish
  }
  ... on TooLate {
    message
  }
  ... on PaymentFailed {
    message
  }
}`) as unknown as TypedDocumentString<ChangeOrderMutation, ChangeOrderMutationVariables>;
export const CancelOrderDocument = new TypedDocumentString(`
    mutation CancelOrder($key: UUID!, $order: ID!) {
  cancelOrder(idempotencyKey: $key, order: $order) {
    order {
      ...OrderFields
    }
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}
fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}`) as unknown as TypedDocumentString<CancelOrderMutation, CancelOrderMutationVariables>;
export const MyOrdersDocument = new TypedDocumentString(`
    query MyOrders($first: Int, $after: String) {
  myOrders(first: $first, after: $after) {
    nodes {
      ...OrderFields
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}
fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}`) as unknown as TypedDocumentString<MyOrdersQuery, MyOrdersQueryVariables>;
export const OrderProgressDocument = new TypedDocumentString(`
    subscription OrderProgress($order: ID!, $after: String) {
  orderProgress(order: $order, after: $after) {
    cursor
    at
    order {
      ...OrderFields
    }
  }
}
    fragment MoneyFields on Money {
  amount
  currency
}
fragment OrderFields on Order {
  id
  status
  placedAt
  lockAt
  payBy
  pickupCode
  paymentCode
  refusal
  total {
    ...MoneyFields
  }
  refunded {
    ...MoneyFields
  }
  lines {
    dish
    name
    quantity
    unitPrice {
      ...MoneyFields
    }
    options {
      group
      choice
    }
  }
  serving {
    id
    date
    meal
    canteen {
      name
    }
  }
}`) as unknown as TypedDocumentString<OrderProgressSubscription, OrderProgressSubscriptionVariables>;
