//! A client of sockets, over real ones.

use std::{net::SocketAddr, time::Duration};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{identity::Identity, testing::House};

/// How long a client waits for what must come.
const SOON: Duration = Duration::from_secs(60);
/// How long it waits for what must not.
const A_WHILE: Duration = Duration::from_millis(400);

/// A house that listens.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    _server: AbortOnDropHandle<std::io::Result<()>>,
}

impl House {
    pub(crate) async fn listen(&self) -> Listening {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(axum::serve(listener, self.router.clone()).into_future());
        Listening { address, _server: AbortOnDropHandle::new(server) }
    }

    /// A client that has been acknowledged.
    pub(crate) async fn client(&self, at: &Listening, who: &Identity) -> Client {
        self.client_with(at, &self.token(who)).await
    }

    pub(crate) async fn client_with(&self, at: &Listening, token: &str) -> Client {
        if self.runs() {
            self.views.wait_for(self.head().await, SOON).await.unwrap();
        }
        let mut client = Client::open(at).await;
        client.init(token).await;
        assert_eq!(client.hear().await, json!({ "type": "connection_ack" }));
        client
    }
}

pub(crate) struct Client(pub(crate) WebSocketStream<TcpStream>);

impl Client {
    /// Connected, and nothing more.
    pub(crate) async fn open(at: &Listening) -> Client {
        Client::with(at, &[("sec-websocket-protocol", "graphql-transport-ws")]).await.unwrap()
    }

    /// Connected with these headers, unless that is refused: then the status.
    pub(crate) async fn with(at: &Listening, headers: &[(&'static str, &str)]) -> Result<Client, u16> {
        let mut request = format!("ws://{}/graphql", at.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(at.address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Client(socket)),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn init(&mut self, token: &str) {
        let payload = json!({ "authorization": format!("Bearer {token}") });
        self.say(json!({ "type": "connection_init", "payload": payload })).await;
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.say(json!({ "id": id, "type": "subscribe", "payload": payload })).await;
    }

    /// The next message, or the code and reason of the end; none after an end without one.
    async fn heard(&mut self) -> Option<Result<Value, (u16, String)>> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return Some(Ok(serde_json::from_str(&text).unwrap())),
                Ok(Message::Close(Some(frame))) => {
                    return Some(Err((frame.code.into(), frame.reason.as_str().to_owned())));
                }
                Ok(Message::Close(None)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> Value {
        tokio::time::timeout(SOON, self.heard()).await.expect("a message").expect("an open socket").unwrap()
    }

    /// The code and reason with which the socket is closed.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let closed = async {
            loop {
                if let Err(end) = self.heard().await.expect("a reason") {
                    return end;
                }
            }
        };
        tokio::time::timeout(SOON, closed).await.expect("an end")
    }

    /// The data of the next message, which must be one of that operation.
    pub(crate) async fn next(&mut self, id: &str) -> Value {
        let message = self.hear().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("next"), &json!(id)), "{message:#}");
        assert!(message["payload"].get("errors").is_none(), "{message:#}");
        message["payload"]["data"].clone()
    }

    /// The code of the error with which that operation ends.
    pub(crate) async fn error(&mut self, id: &str) -> Value {
        let message = self.hear().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!(id)), "{message:#}");
        message["payload"][0].clone()
    }

    /// Reads on for so long, and hears nothing.
    pub(crate) async fn idle(&mut self, time: Duration) {
        if let Ok(heard) = tokio::time::timeout(time, self.heard()).await {
            panic!("{heard:#?}");
        }
    }

    /// Hears nothing for a while.
    pub(crate) async fn nothing(&mut self) {
        self.idle(A_WHILE).await;
    }
}
