// GraphiQL on a page of the server's own. Nothing of it comes from elsewhere.

import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";

import "graphiql/graphiql.css";
import { fetcher, NOBODY } from "./fetcher";
import "./page.css";

const WELCOME = `# Under Headers below stands who asks: put in place of TOKEN what "tiffin demo" printed or "tiffin token" prints.
# Ctrl-Enter sends the request.

query Welcome {
  viewer {
    roles
  }
  canteens {
    nodes {
      id
      name
    }
  }
}
`;

const HEADERS = JSON.stringify({ authorization: NOBODY }, null, 2);

const place = document.getElementById("graphiql");
if (place === null) throw new Error("the page has no place for GraphiQL");
createRoot(place).render(
  <GraphiQL
    fetcher={fetcher(new URL("/graphql", location.href))}
    defaultQuery={WELCOME}
    defaultHeaders={HEADERS}
    defaultEditorToolsVisibility="headers"
  />,
);
