//! GraphQL over WebSockets, as `graphql-transport-ws`
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>).
//!
//! A socket is one task that hears, answers and waits in turn. Nothing queues for a reader: while one message is on
//! its way the next is not made, and what is watched meanwhile moves on to its latest state. What a socket does in its
//! turns is in boxes: most are idle, and the task of one would otherwise be as large as its largest turn.

mod message;
mod places;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_graphql::Response as Answer;
use axum::{
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, AbortHandle, BoxStream, SelectAll, abortable},
};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::places::Places;
use self::{
    message::{Heard, Told, close},
    places::{Place, Seat},
};
use crate::{
    answers::{Turned, later, turned},
    errors::{Code, Failed, coded},
    http::{Answers, Door},
    identity::{Identity, IdentityError, bearer, seconds_now},
    language::Language,
};

/// What the subprotocol is called.
const PROTOCOL: &str = "graphql-transport-ws";
/// What a socket reads into; each has one, which grows with a longer message.
const READ_BUFFER: usize = 256;
/// Longest message to a client, in bytes: a socket that would need more ends.
const LONGEST: usize = 8 * 1024 * 1024;
/// How long an issuer is waited for when a token is asked about again.
const RECHECKING: Duration = Duration::from_secs(1);
/// How long a close may take.
const CLOSING: Duration = Duration::from_secs(2);

/// What sockets may take of the machine.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// Most sockets of this process; more are told `OVERLOADED`.
    pub sockets: usize,
    /// Most sockets of one user.
    pub sockets_a_user: usize,
    /// Most operations under way on one socket.
    pub operations: usize,
    /// Most operations of one user under way on all their sockets of this process.
    pub operations_a_user: usize,
    /// Longest message from a client, in bytes.
    pub message: usize,
    /// Within this a client must say who it is.
    pub init: Duration,
    /// After this long without a sign of life a client is pinged.
    pub ping: Duration,
    /// How long a client may take to read: after this a reader of whom nothing is heard is pinged, and after
    /// as long again it is dropped.
    pub patience: Duration,
    /// How often it is asked whether a socket's token is still good.
    pub recheck: Duration,
}

impl Default for SocketLimits {
    fn default() -> Self {
        SocketLimits {
            sockets: 25_000,
            sockets_a_user: 32,
            operations: 32,
            operations_a_user: 128,
            message: 64 * 1024,
            init: Duration::from_secs(3),
            ping: Duration::from_secs(20),
            patience: Duration::from_secs(4),
            recheck: Duration::from_secs(60),
        }
    }
}

/// Takes a socket, if there is room for it.
pub(crate) fn upgrade(door: Arc<Door>, headers: &HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let language = Language::of_header(headers.get(header::ACCEPT_LANGUAGE));
    if door.draining.is_cancelled() {
        return turned(later(Code::Unavailable, "the service is shutting down; connect again"), language);
    }
    if !door.edge.admits(headers) {
        let why = "pages of that site may not ask; the service has to be told to let them";
        return turned(Turned(StatusCode::FORBIDDEN, coded(Code::Forbidden, why)), language);
    }
    let Some(seat) = Places::sit(&door.places) else {
        return turned(later(Code::Overloaded, "there are too many sockets; try again in a moment"), language);
    };
    let bearer = headers.get(header::AUTHORIZATION).map(|header| header.to_str().unwrap_or("").to_owned());
    let message = door.service.limits.sockets.message;
    let upgrade = upgrade.protocols([PROTOCOL]).read_buffer_size(READ_BUFFER).write_buffer_size(0);
    let upgrade = upgrade.max_write_buffer_size(LONGEST).max_message_size(message).max_frame_size(message);
    upgrade.on_upgrade(move |socket| Session::new(door, socket, (bearer, language), seat).run()).into_response()
}

/// Why a socket ends.
enum End {
    /// It is told so.
    Close(u16, String),
    /// There is nobody to tell it to.
    Gone,
}

fn closed(code: u16, why: impl Into<String>) -> End {
    End::Close(code, why.into())
}

/// Who a socket's bearer is, and how long.
struct Bearer {
    identity: Arc<Identity>,
    token: String,
    until: Instant,
    /// When it is asked again whether the token is good: its key may have been withdrawn.
    recheck: Instant,
}

/// What was told last, and heard.
struct Beat {
    heard: Instant,
    /// The first message since something was heard.
    told: Option<Instant>,
    /// A ping that was not answered.
    pinged: Option<Instant>,
}

impl Beat {
    /// Until when what is sent `now` must be read: a reader has so long in all since it was told something, or
    /// pinged, and not anew with each message.
    fn sent_by(&self, now: Instant, patience: Duration) -> Instant {
        let told = self.told.unwrap_or(now) + patience * 2;
        self.pinged.map_or(told, |pinged| told.min(pinged + patience))
    }
}

struct Session {
    door: Arc<Door>,
    socket: WebSocket,
    /// Of the HTTP request.
    header: Option<String>,
    seat: Seat,
    opened: Instant,
    bearer: Option<Bearer>,
    beat: Beat,
    operations: SelectAll<BoxStream<'static, Told>>,
    open: HashMap<String, (AbortHandle, Place)>,
    language: Language,
}

impl Session {
    fn new(door: Arc<Door>, socket: WebSocket, (header, language): (Option<String>, Language), seat: Seat) -> Self {
        let now = Instant::now();
        let beat = Beat { heard: now, told: None, pinged: None };
        let (operations, open) = (SelectAll::new(), HashMap::new());
        Session { door, socket, header, seat, opened: now, bearer: None, beat, operations, open, language }
    }

    async fn run(mut self) {
        if self.socket.protocol().is_none() {
            let why = format!("the subprotocol must be {PROTOCOL}");
            return Box::pin(self.close(close::NO_PROTOCOL, why)).await;
        }
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        match end {
            End::Close(code, why) => Box::pin(self.close(code, why)).await,
            End::Gone => {}
        }
    }

    /// Says why, and waits a moment for the client to say it has heard.
    async fn close(mut self, code: u16, why: String) {
        // What was watched is not while the socket goes.
        self.operations.clear();
        self.open.clear();
        let frame = Message::Close(Some(CloseFrame { code, reason: why.into() }));
        let closing = async {
            if self.socket.send(frame).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        if timeout(CLOSING, closing).await.is_err() {
            tracing::debug!(code, "a socket did not take its end");
        }
    }

    /// Waits for whatever comes first, and deals with it.
    async fn turn(&mut self) -> Result<(), End> {
        let draining = self.door.draining.clone();
        let due = self.due();
        tokio::select! {
            () = draining.cancelled() => Err(closed(close::GOING_AWAY, "the service is shutting down; connect again")),
            () = sleep_until(due) => Box::pin(self.on_time()).await,
            Some(told) = self.operations.next(), if !self.operations.is_empty() => Box::pin(self.tell(told)).await,
            heard = self.socket.recv() => match heard {
                Some(Ok(message)) => Box::pin(self.hear(message)).await,
                Some(Err(error)) => Err(message::broken(&error)),
                None => Err(End::Gone),
            },
        }
    }

    /// When something is due that is not heard.
    fn due(&self) -> Instant {
        let limits = &self.door.service.limits.sockets;
        let due = |bearer: &Bearer| bearer.until.min(bearer.recheck);
        let ends = self.bearer.as_ref().map_or(self.opened + limits.init, due);
        ends.min(self.beat_due())
    }

    fn beat_due(&self) -> Instant {
        let limits = &self.door.service.limits.sockets;
        match (self.beat.pinged, self.beat.told) {
            (Some(pinged), _) => pinged + limits.patience,
            (None, Some(told)) => (told + limits.patience).min(self.beat.heard + limits.ping),
            (None, None) => self.beat.heard + limits.ping,
        }
    }

    async fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        match &self.bearer {
            None if now >= self.opened + self.door.service.limits.sockets.init => {
                return Err(closed(close::INIT_TIMEOUT, "Connection initialisation timeout"));
            }
            Some(bearer) if now >= bearer.until => {
                return Err(closed(close::FORBIDDEN, "Forbidden: the token has expired; connect with another"));
            }
            None | Some(_) => {}
        }
        if self.bearer.as_ref().is_some_and(|bearer| now >= bearer.recheck) {
            self.recheck().await?;
        }
        if now < self.beat_due() {
            return Ok(());
        }
        if self.beat.pinged.is_some() {
            tracing::debug!("a socket's client does not answer any more");
            return Err(End::Gone);
        }
        self.beat.pinged = Some(now);
        self.send(Message::Ping(Default::default())).await
    }

    /// A token that is not good any more ends its socket. One that cannot be checked at the moment does not.
    /// An issuer that is slow to say so is asked again in a moment: the socket has more to see to.
    async fn recheck(&mut self) -> Result<(), End> {
        let Some(bearer) = &mut self.bearer else { return Ok(()) };
        let limits = &self.door.service.limits.sockets;
        let verified = timeout(RECHECKING, self.door.verifier.verify(&bearer.token)).await;
        bearer.recheck = Instant::now() + if verified.is_ok() { limits.recheck } else { limits.patience };
        match verified {
            Err(_) | Ok(Ok(_) | Err(IdentityError::Unavailable(_))) => Ok(()),
            Ok(Err(_)) => Err(closed(close::FORBIDDEN, "Forbidden: the token is not valid any more")),
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        self.beat = Beat { heard: Instant::now(), told: None, pinged: None };
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
            Message::Binary(_) => return Err(closed(close::BAD_REQUEST, "Invalid message: it must be text")),
        };
        match message::read(&text).map_err(|why| closed(close::BAD_REQUEST, why))? {
            Heard::Init { token, language } => {
                self.language = language.map_or(self.language, |header| Language::accepted(&header));
                self.init(token).await
            }
            Heard::Ping => self.send_text(message::PONG).await,
            Heard::Pong => Ok(()),
            Heard::Subscribe(id, request) => self.subscribe(id, *request).await,
            Heard::Complete(id) => {
                if let Some((handle, _)) = self.open.remove(&id) {
                    handle.abort();
                }
                Ok(())
            }
        }
    }

    /// The client says who it is, once.
    async fn init(&mut self, token: Option<String>) -> Result<(), End> {
        if self.bearer.is_some() {
            return Err(closed(close::TOO_MANY_INITS, "Too many initialisation requests"));
        }
        let Some(header) = token.or_else(|| self.header.take()) else {
            return Err(closed(close::UNAUTHORIZED, "Unauthorized: send {\"authorization\": \"Bearer …\"}"));
        };
        let forbidden = |why: &str| closed(close::FORBIDDEN, format!("Forbidden: {why}"));
        let token = bearer(&header).ok_or_else(|| forbidden("the token must be given as Bearer …"))?;
        let verified = self.door.verifier.verify_until(token).await;
        let (identity, exp) = verified.map_err(|error| match error {
            IdentityError::Unavailable(why) => closed(close::TRY_LATER, why),
            _ => forbidden("the token is not valid"),
        })?;
        let left = exp.saturating_sub(seconds_now());
        if left == 0 {
            return Err(forbidden("the token has expired; connect with another"));
        }
        if !self.seat.of(&identity) {
            return Err(closed(close::TRY_LATER, "you have too many sockets"));
        }
        let now = Instant::now();
        // A token may say that it is good for ever.
        let until = now.checked_add(Duration::from_secs(left)).unwrap_or(now + Duration::from_secs(86_400));
        let (token, recheck) = (token.to_owned(), now + self.door.service.limits.sockets.recheck);
        self.bearer = Some(Bearer { identity, token, until, recheck });
        self.send_text(message::ACK).await
    }

    async fn subscribe(&mut self, id: String, request: async_graphql::Request) -> Result<(), End> {
        let Some(bearer) = &self.bearer else { return Err(closed(close::UNAUTHORIZED, "Unauthorized")) };
        if self.open.contains_key(&id) {
            return Err(closed(close::DUPLICATE, format!("Subscriber for {id} already exists")));
        }
        let most = self.door.service.limits.sockets.operations;
        let place = if self.open.len() < most { self.seat.take() } else { None };
        let Some(place) = place else {
            let why = "you have too many operations under way; complete some first";
            return self.tell(Told::failed(id, coded(Code::TooManySubscriptions, why), self.language)).await;
        };
        let identity = Arc::clone(&bearer.identity);
        let (answers, handle) =
            abortable(answers(Arc::clone(&self.door), id.clone(), request, (identity, self.language)));
        self.operations.push(answers.boxed());
        self.open.insert(id, (handle, place));
        Ok(())
    }

    async fn tell(&mut self, told: Told) -> Result<(), End> {
        if told.is_last()
            && let Some((handle, _)) = self.open.remove(told.id())
        {
            handle.abort();
        }
        let text = told.write();
        self.send_text(text).await
    }

    async fn send_text(&mut self, text: impl Into<axum::extract::ws::Utf8Bytes>) -> Result<(), End> {
        self.beat.told.get_or_insert_with(Instant::now);
        self.send(Message::Text(text.into())).await
    }

    /// A reader that does not read is dropped.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        let by = self.beat.sent_by(Instant::now(), self.door.service.limits.sockets.patience);
        match timeout_at(by, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                tracing::debug!("a socket's client does not read any more");
                Err(End::Gone)
            }
        }
    }
}

/// Everything that an operation is told, with its end.
///
/// It begins in a task of its own: while its socket waits for a reader nobody polls this, and the room that it takes
/// meanwhile is room of everybody's.
fn answers(
    door: Arc<Door>,
    id: String,
    request: async_graphql::Request,
    (identity, language): (Arc<Identity>, Language),
) -> impl stream::Stream<Item = Told> + Send + 'static {
    let of = id.clone();
    let broken = move || {
        tracing::error!("an operation over a socket ended in a panic");
        Told::failed(of.clone(), coded(Code::Internal, "something is wrong inside the service"), language)
    };
    let broke = broken.clone();
    // In boxes, so that what it took to begin is given back once it has.
    let opening = open(door.answers(request, identity, language).boxed(), id, language);
    let opening = AbortOnDropHandle::new(tokio::spawn(opening)).boxed();
    let opened = opening.map(move |opened| opened.unwrap_or_else(|_panic| stream::iter([broke()]).boxed()));
    let guarded = AssertUnwindSafe(opened.flatten_stream()).catch_unwind();
    guarded.map(move |told| told.unwrap_or_else(|_panic| broken()))
}

/// Begins an operation, up to its first answer; everything that it is told.
async fn open(
    opening: BoxFuture<'static, Result<Answers, Failed>>,
    id: String,
    language: Language,
) -> BoxStream<'static, Told> {
    let answers = opening.await;
    match answers {
        Err(failed) => stream::iter([Told::failed(id, failed, language)]).boxed(),
        Ok(Answers::One(answer)) => stream::iter(message::only(id, *answer)).boxed(),
        Ok(Answers::Many(mut answers)) => {
            let first = answers.next().await;
            let completed = Told::Complete(id.clone());
            let next = move |answer: Answer| Told::next(id.clone(), answer);
            stream::iter(first).chain(answers).map(next).chain(stream::iter([completed])).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::*;

    #[test]
    fn a_reader_does_not_get_more_time_with_each_message() {
        let (start, patience) = (Instant::now(), Duration::from_secs(4));
        let at = |seconds| start + Duration::from_secs(seconds);
        let beat =
            |told: Option<u64>, pinged: Option<u64>| Beat { heard: start, told: told.map(at), pinged: pinged.map(at) };
        assert_eq!(beat(None, None).sent_by(at(3), patience), at(11));
        assert_eq!(beat(Some(3), None).sent_by(at(3), patience), at(11));
        assert_eq!(beat(Some(3), None).sent_by(at(10), patience), at(11), "told before");
        assert_eq!(beat(Some(3), Some(7)).sent_by(at(10), patience), at(11), "and pinged");
        assert_eq!(beat(Some(23), Some(20)).sent_by(at(23), patience), at(24), "pinged after it was quiet");
    }

    /// Polls what an operation is told until `begun`, and not any more. One that was told something before that was
    /// seen is asked anew.
    async fn suspended(house: &House, query: &str, id: &Value, begun: impl Fn() -> bool) -> BoxStream<'static, Told> {
        let begins = async {
            loop {
                let variables = async_graphql::Variables::from_json(json!({ "id": id }));
                let request = async_graphql::Request::new(query).variables(variables);
                let whose = (Arc::new(diner(7)), Language::English);
                let mut told = answers(Arc::clone(&house.door), "1".to_owned(), request, whose).boxed();
                while told.next().now_or_never().is_none() {
                    if begun() {
                        return told;
                    }
                    tokio::task::yield_now().await;
                }
            }
        };
        timeout(Duration::from_secs(30), begins).await.unwrap()
    }

    async fn comes_true(what: impl Fn() -> bool) {
        let comes = async {
            while !what() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), comes).await.unwrap();
    }

    #[tokio::test]
    async fn a_stalled_socket_holds_nobodys_room() {
        let house = House::open().await;
        let lunch = house.lunch().await;
        house.views.wait_for(house.head().await, Duration::from_secs(10)).await.unwrap();
        let (live, shedder) = (&house.door.service.live, &house.door.shedder);
        let query = "query($id: ID!) { serving(id: $id) { offers { left } } }";
        let mut asked = suspended(&house, query, &lunch.serving, || shedder.under_way() == 1).await;
        comes_true(|| shedder.under_way() == 0).await;
        let watch = "subscription($id: ID!) { portionsLeft(serving: $id) { offers { left } } }";
        let mut watched = suspended(&house, watch, &lunch.serving, || live.beginning() == 1).await;
        comes_true(|| live.beginning() == 0).await;
        for told in [&mut asked, &mut watched] {
            assert!(matches!(told.next().await, Some(Told::Next(..))));
        }
        // One that is not wanted any more ends, whatever it waits for.
        drop(watched);
        comes_true(|| live.topics() == 0).await;
        drop(suspended(&house, watch, &lunch.serving, || live.beginning() == 1).await);
        comes_true(|| live.beginning() == 0 && live.topics() == 0).await;
    }
}
