// What README shows, as a program: a test compares the two and runs this one.

import {
  KitchenBoardDocument,
  LunchDocument,
  OrderProgressDocument,
  PlaceOrderDocument,
  TiffinClient,
  TiffinError,
} from "tiffin-client";

/** Orders the first dish of a day and watches it until it is ready. `say` is told what happens. */
export async function haveLunch(
  token: string,
  url: string,
  date: string,
  say: (text: string) => void,
  webSocket?: unknown,
): Promise<void> {
  const options = webSocket === undefined ? {} : { webSocket };
  const client = new TiffinClient({ url, token: () => token, ...options });

  const { servings } = await client.query(LunchDocument, { date });
  const [serving] = servings.nodes;
  const offer = serving?.offers.find(({ left, options }) => left > 0 && options.length === 0);
  if (serving === undefined || offer === undefined) return say("nothing to eat");

  const { placeOrder } = await client.mutate(PlaceOrderDocument, {
    input: { serving: serving.id, lines: [{ dish: offer.dish, quantity: 1, unitPrice: offer.price }] },
  });
  switch (placeOrder.__typename) {
    case "Order":
      say(`ordered for ${placeOrder.total.amount}`);
      break;
    case "SoldOut":
      return say(`only ${placeOrder.offers[0]?.left ?? 0} left`);
    case "InsufficientFunds":
      return say(`${placeOrder.short.amount} short`);
    default:
      return say(placeOrder.message);
  }

  for await (const { order } of client.subscribe(OrderProgressDocument, { order: placeOrder.id })) {
    say(order.status);
    if (order.status === "READY") break;
  }

  try {
    await client.subscribe(KitchenBoardDocument, { serving: serving.id }).next();
  } catch (error) {
    if (error instanceof TiffinError && error.code === "FORBIDDEN") say("the kitchen is not for diners");
    else throw error;
  }
  await client.close();
}
