//! Tokens of an issuer that publishes its keys and changes them.

use std::{sync::Arc, time::Duration};

use axum::http::{StatusCode, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{jwks::Keys, testing::*, verifier::seconds_now, *};
use crate::testing::{Answered, House};

async fn following(issuer: &OutsideIssuer, refresh: Refresh) -> Verifier {
    Verifier::following(&issuer.source, expected(), refresh).await.unwrap()
}

fn is_invalid(result: Result<Arc<Identity>, IdentityError>) -> bool {
    matches!(result, Err(IdentityError::Invalid(_)))
}

/// Waits until the issuer was asked `times`, and its answer was taken.
async fn asked(issuer: &OutsideIssuer, times: usize) {
    for _ in 0..3_000 {
        if issuer.asked() >= times {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the issuer was asked {} times, not {times}", issuer.asked());
}

#[tokio::test]
async fn each_algorithm_is_checked_with_the_key_that_the_token_names() {
    let signers = [Signer::common_rsa("r"), Signer::p256("p"), Signer::ed25519("e")];
    let issuer = OutsideIssuer::publishing(&signers.iter().collect::<Vec<_>>()).await;
    let verifier = following(&issuer, eager()).await;
    for signer in &signers {
        let identity = verifier.verify(&signer.sign(&claims())).await.unwrap();
        assert_eq!((identity.actor.0, identity.tenant.0), (Uuid::from_u128(7), Uuid::from_u128(1)));
    }
    let single = with("aud", OTHER_AUDIENCE.into());
    assert!(verifier.verify(&signers[1].sign(&single)).await.is_ok());
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn keys_rotate_without_a_restart_and_a_withdrawn_one_is_forgotten_with_its_tokens() {
    let (old, new) = (Signer::p256("old"), Signer::ed25519("new"));
    let issuer = OutsideIssuer::publishing(&[&old]).await;
    let verifier = following(&issuer, eager()).await;
    let before = old.sign(&claims());
    assert!(verifier.verify(&before).await.is_ok());
    issuer.publish(&[&old, &new]);
    assert!(verifier.verify(&new.sign(&claims())).await.is_ok(), "an unknown key makes one refresh");
    assert!(verifier.verify(&before).await.is_ok());
    issuer.publish(&[&new]);
    assert!(verifier.verify(&before).await.is_ok(), "until the keys are read again");
    assert!(is_invalid(verifier.verify(&Signer::p256("another").sign(&claims())).await));
    assert!(is_invalid(verifier.verify(&before).await), "though the token was verified before");
    // The same id for another key: what the old one signed is not taken either.
    let swapped = Signer::ed25519("new");
    let token = new.sign(&claims());
    assert!(verifier.verify(&token).await.is_ok());
    issuer.publish(&[&swapped]);
    assert!(is_invalid(verifier.verify(&Signer::p256("another").sign(&claims())).await));
    assert!(is_invalid(verifier.verify(&token).await));
    assert!(verifier.verify(&swapped.sign(&claims())).await.is_ok());
}

#[tokio::test]
async fn keys_are_read_again_in_turn() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let issuer = OutsideIssuer::publishing(&[&old]).await;
    let refresh = Refresh { every: Duration::from_millis(50), pace: Duration::from_millis(1), ..Refresh::default() };
    let verifier = following(&issuer, refresh).await;
    let token = old.sign(&claims());
    assert!(verifier.verify(&token).await.is_ok());
    issuer.publish(&[&new]);
    asked(&issuer, issuer.asked() + 2).await;
    assert!(is_invalid(verifier.verify(&token).await), "a withdrawn key, though nobody asked for another");
    drop(verifier);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let last = issuer.asked();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(issuer.asked(), last, "nobody follows any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_keys_makes_one_refresh() {
    let known = Signer::p256("known");
    let issuer = OutsideIssuer::publishing(&[&known]).await;
    let refresh = Refresh { pace: Duration::from_millis(3_000), ..eager() };
    let verifier = Arc::new(following(&issuer, refresh).await);
    // Nobody looks at the signature before the key is known.
    let flood = |round: usize| {
        let unknown = |number: usize| {
            let token = raw(&json!({ "alg": "ES256", "kid": format!("{round}/{number}") }), &claims(), "AAAA");
            let verifier = Arc::clone(&verifier);
            tokio::spawn(async move { is_invalid(verifier.verify(&token).await) })
        };
        let tasks: Vec<_> = (0..100).map(unknown).collect();
        async { futures::future::join_all(tasks).await.into_iter().all(Result::unwrap) }
    };
    assert!(flood(0).await);
    assert_eq!(issuer.asked(), 1, "within the pace of the first reading");
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    assert!(flood(1).await && flood(2).await);
    assert_eq!(issuer.asked(), 2);
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    assert_eq!(issuer.asked(), 2, "and nothing is left that asks later");
    assert!(verifier.verify(&known.sign(&claims())).await.is_ok());
}

#[tokio::test]
async fn without_the_issuer_known_keys_stay_good_for_a_while() {
    let known = Signer::p256("known");
    let issuer = OutsideIssuer::publishing(&[&known]).await;
    let refresh = Refresh {
        every: Duration::from_millis(50),
        retry: Duration::from_millis(50),
        pace: Duration::from_millis(1),
        good_for: Duration::from_secs(60),
        patience: Duration::from_millis(500),
    };
    let verifier = following(&issuer, refresh).await;
    let token = known.sign(&claims());
    for broken in [
        Answering::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Answering::Text("<html>".to_owned()),
        Answering::Never,
        Answering::Text(format!("{{\"keys\":[]}}{}", " ".repeat(300_000))),
    ] {
        issuer.answer(broken);
        asked(&issuer, issuer.asked() + 2).await;
        assert!(verifier.verify(&token).await.is_ok());
        issuer.publish(&[&known]);
        asked(&issuer, issuer.asked() + 2).await;
    }
    drop(verifier);
    let soon = Duration::from_secs(30);
    let verifier = following(&issuer, Refresh { good_for: Duration::from_secs(1), ..refresh }).await;
    issuer.answer(Answering::Status(StatusCode::FOUND));
    let expired = async {
        while verifier.verify(&token).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(soon, expired).await.expect("keys are not good for ever");
    assert!(matches!(verifier.verify(&token).await, Err(IdentityError::Unavailable(_))), "remembered or not");
    assert!(verifier.readiness().is_err());
    issuer.publish(&[&known]);
    let back = async {
        while verifier.verify(&token).await.is_err() || verifier.readiness().is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(soon, back).await.expect("the issuer is back, and so are its keys");
}

#[tokio::test]
async fn a_start_without_usable_keys_says_why_and_shows_no_secret() {
    let issuer = OutsideIssuer::publishing(&[]).await;
    let start = async || match Verifier::following(&issuer.source, expected(), eager()).await {
        Err(IdentityError::Keys { source_name, why }) => {
            assert!(source_name.ends_with("/jwks"), "{source_name}");
            why
        }
        _ => panic!("that is no key set"),
    };
    assert!(start().await.contains("no key"));
    issuer.answer(Answering::Status(StatusCode::MOVED_PERMANENTLY));
    assert!(start().await.contains("301"));
    let many: Vec<_> = (0..33).map(|number| json!({ "kty": "oct", "kid": number.to_string() })).collect();
    issuer.answer(Answering::Text(json!({ "keys": many }).to_string()));
    assert!(start().await.contains("most is 32"));
    let nowhere: JwksSource = "http://127.0.0.1:1/".parse().unwrap();
    assert!(Verifier::following(&nowhere, expected(), eager()).await.is_err());
    let missing: JwksSource = "/nowhere/keys.json".parse().unwrap();
    assert!(Verifier::following(&missing, expected(), eager()).await.is_err());
}

#[tokio::test]
async fn keys_in_a_file_are_followed_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let write = |signer: &Signer| std::fs::write(&file, json!({ "keys": [signer.jwk()] }).to_string()).unwrap();
    write(&old);
    let source = file.to_str().unwrap().parse().unwrap();
    let verifier = Verifier::following(&source, expected(), eager()).await.unwrap();
    assert!(verifier.verify(&old.sign(&claims())).await.is_ok());
    write(&new);
    assert!(verifier.verify(&new.sign(&claims())).await.is_ok());
    assert!(is_invalid(verifier.verify(&old.sign(&claims())).await));
}

#[test]
fn a_source_is_a_file_or_https_or_this_machine() {
    for good in ["keys.json", "/etc/keys.json", "https://a.example/jwks", "http://localhost:8080/jwks", "http://[::1]/"]
    {
        assert!(good.parse::<JwksSource>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "http://a.example/jwks",
        "http://localhost.a.example/",
        "http://127.0.0.1.a.example/",
        "http://127.0.0.1@a.example/",
        "https://user:hunter2@a.example/",
        "ftp://localhost/",
        "file:///etc/keys.json",
        "https://",
    ] {
        let error = bad.parse::<JwksSource>().expect_err(bad);
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn keys_that_are_weak_or_for_something_else_are_left_out() {
    let (rsa, p256, ed) = (Signer::common_rsa("r").jwk(), Signer::p256("p").jwk(), Signer::ed25519("e").jwk());
    let changed = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let taken = |jwk: &Value| Keys::read(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap().len() == 1;
    for good in [&rsa, &p256, &ed, &changed(&ed, "key_ops", json!(["verify"])), &changed(&rsa, "alg", Value::Null)] {
        assert!(taken(good), "{good}");
    }
    let modulus = |bits: usize| URL_SAFE_NO_PAD.encode(vec![0xff; bits / 8]);
    // Leading zeros do not make a key longer.
    let padded = URL_SAFE_NO_PAD.encode([vec![0; 128], vec![0xff; 128]].concat());
    for bad in [
        Signer::rsa("short", 1_024).jwk(),
        changed(&rsa, "n", modulus(16_384).into()),
        changed(&rsa, "n", modulus(4_104).into()),
        changed(&rsa, "n", padded.into()),
        changed(&rsa, "e", URL_SAFE_NO_PAD.encode([1]).into()),
        changed(&rsa, "e", URL_SAFE_NO_PAD.encode([2]).into()),
        changed(&rsa, "e", "".into()),
        changed(&rsa, "e", URL_SAFE_NO_PAD.encode([3; 9]).into()),
        changed(&rsa, "alg", "HS256".into()),
        changed(&rsa, "alg", "none".into()),
        changed(&rsa, "alg", "RS512".into()),
        changed(&rsa, "kty", "EC".into()),
        changed(&p256, "alg", "RS256".into()),
        changed(&p256, "crv", "P-384".into()),
        changed(&p256, "x", "AA".into()),
        changed(&ed, "x", "AA".into()),
        changed(&ed, "x", "!".into()),
        changed(&ed, "crv", "X25519".into()),
        changed(&ed, "use", "enc".into()),
        changed(&ed, "key_ops", json!(["sign"])),
        changed(&ed, "kid", Value::Null),
        changed(&ed, "kid", "".into()),
        changed(&ed, "kid", "k".repeat(257).into()),
        json!({ "kty": "oct", "kid": "o", "alg": "HS256", "k": "AAAA" }),
        json!("nonsense"),
    ] {
        assert!(!taken(&bad), "{bad}");
    }
    // One of no use does not spoil the others.
    let both = json!({ "keys": [{ "kty": "oct", "kid": "o" }, ed] }).to_string();
    assert_eq!(Keys::read(both.as_bytes()).unwrap().len(), 1);
    assert!(Keys::read(b"{}").is_err() && Keys::read(b"[]").is_err());
}

#[tokio::test]
async fn claims_that_an_issuer_names_otherwise_are_found_under_its_names() {
    let signer = Signer::p256("p");
    let issuer = OutsideIssuer::publishing(&[&signer]).await;
    let name = |name: &str| Some(format!("https://canteens.example/{name}"));
    let claims_named =
        ClaimNames { tenant: name("tenant"), sub: name("id"), roles: name("roles"), ..ClaimNames::default() };
    let expected = Expected { claims: claims_named, ..expected() };
    let verifier = Verifier::following(&issuer.source, expected, eager()).await.unwrap();
    let mut theirs = claims();
    theirs["sub"] = "auth0|5f7c8ec7".into();
    // What stands under our name is whatever their users write there.
    theirs["roles"] = json!(["finance"]);
    theirs["https://canteens.example/tenant"] = json!(Uuid::from_u128(3));
    theirs["https://canteens.example/id"] = json!(Uuid::from_u128(8));
    assert!(is_invalid(verifier.verify(&signer.sign(&theirs)).await), "no roles");
    theirs["https://canteens.example/roles"] = json!(["diner"]);
    let identity = verifier.verify(&signer.sign(&theirs)).await.unwrap();
    assert_eq!(*identity, Identity::new(TenantId(Uuid::from_u128(3)), Uuid::from_u128(8), [Role::Diner]));
    theirs.as_object_mut().unwrap().remove("sub");
    assert!(is_invalid(verifier.verify(&signer.sign(&theirs)).await), "sub is required all the same");
}

const READING: &str = r#"{"query":"{ viewer { tenant } canteens { nodes { id } } }"}"#;

async fn sent(house: &House, token: &str) -> Answered {
    let mut request = house.request(None, READING);
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    house.send(request).await
}

fn raw(header: &Value, claims: &Value, signature: &str) -> String {
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", text(header), text(claims))
}

/// Tokens that somebody tries, and why they are not taken.
fn hostile(signers: &[Signer; 3]) -> Vec<(&'static str, String)> {
    let [rsa, p256, ed] = signers;
    let now = seconds_now();
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let as_secret = |public: &[u8]| {
        let header = Header { kid: Some("r".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(public)).unwrap()
    };
    let modulus = URL_SAFE_NO_PAD.decode(rsa.jwk()["n"].as_str().unwrap()).unwrap();
    let good = p256.sign(&claims());
    let (signed_part, signature) = good.rsplit_once('.').unwrap();
    let embedded = |header: Header, signer: &Signer| jsonwebtoken::encode(&header, &claims(), &signer.key).unwrap();
    let stranger = Signer::p256("p");
    let own_key = Header { jwk: serde_json::from_value(stranger.jwk()).ok(), ..p256.header() };
    let own_url = Header { jku: Some("http://127.0.0.1:1/".to_owned()), kid: Some("q".to_owned()), ..p256.header() };
    vec![
        ("empty", String::new()),
        ("nonsense", "a.b.c".to_owned()),
        ("expired", ed.sign(&with("exp", (now - 31).into()))),
        ("never expires", ed.sign(&without("exp"))),
        ("expires at half past", ed.sign(&with("exp", json!("soon")))),
        ("not valid yet", ed.sign(&with("nbf", (now + 60).into()))),
        ("another issuer", ed.sign(&with("iss", "https://evil.example/".into()))),
        ("no issuer", ed.sign(&without("iss"))),
        ("another audience", ed.sign(&with("aud", json!(["another"])))),
        ("no audience", ed.sign(&without("aud"))),
        ("nobody", ed.sign(&without("sub"))),
        ("no tenant", ed.sign(&without("tenant"))),
        ("a role that there is not", ed.sign(&with("roles", json!(["king"])))),
        ("unsigned", raw(&json!({ "alg": "none", "kid": "e" }), &claims(), "")),
        ("unsigned, in capitals", raw(&json!({ "alg": "NONE", "kid": "e" }), &claims(), "")),
        ("signature cut off", format!("{signed_part}.")),
        ("signature of nothing", format!("{signed_part}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
        (
            "signature of another token",
            format!("{}.{signature}", p256.sign(&with("nonce", 1.into())).rsplit_once('.').unwrap().0),
        ),
        ("the public key as a secret", as_secret(&modulus)),
        ("the published key as a secret", as_secret(rsa.jwk().to_string().as_bytes())),
        ("another key under a known id", stranger.sign(&claims())),
        (
            "a key for another algorithm",
            embedded(Header { kid: Some("r".to_owned()), ..Header::new(Algorithm::ES256) }, p256),
        ),
        (
            "another algorithm of the key",
            embedded(Header { kid: Some("r".to_owned()), ..Header::new(Algorithm::RS512) }, rsa),
        ),
        ("a key within the token", embedded(own_key, &stranger)),
        ("a key somewhere else", embedded(own_url, &stranger)),
        ("no key named", embedded(Header { kid: None, ..p256.header() }, p256)),
        ("unknown key", Signer::p256("unknown").sign(&claims())),
        ("unknown demands", embedded(Header { crit: Some(vec!["b64".to_owned()]), ..p256.header() }, p256)),
        ("huge", ed.sign(&with("nonce", "x".repeat(20_000).into()))),
        (
            "the development issuer's",
            Issuer::random()
                .mint(
                    &Identity::new(TenantId(Uuid::from_u128(1)), Uuid::from_u128(7), [Role::Diner]),
                    Duration::from_secs(60),
                )
                .unwrap(),
        ),
    ]
}

#[tokio::test]
async fn hostile_tokens_get_one_answer_and_read_nothing() {
    let signers = [Signer::common_rsa("r"), Signer::p256("p"), Signer::ed25519("e")];
    let issuer = OutsideIssuer::publishing(&signers.iter().collect::<Vec<_>>()).await;
    let house = House::checking(following(&issuer, Refresh::default()).await).await;
    for signer in &signers {
        let answer = sent(&house, &signer.sign(&claims())).await;
        assert_eq!(answer.data()["viewer"]["tenant"], json!(Uuid::from_u128(1)));
    }
    // Clocks may differ by thirty seconds.
    let now = seconds_now();
    assert_eq!(sent(&house, &signers[2].sign(&with("exp", (now - 20).into()))).await.status, StatusCode::OK);
    assert_eq!(sent(&house, &signers[2].sign(&with("nbf", (now + 20).into()))).await.status, StatusCode::OK);
    let mut bodies = Vec::new();
    for (why, token) in hostile(&signers) {
        let answer = sent(&house, &token).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"), "{why}");
        assert_eq!(answer.body["data"], Value::Null, "{why}");
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");
    assert_eq!(issuer.asked(), 1, "none of them made the issuer be asked within the pace");
    assert_eq!(house.head().await, store::Position::default());
}

#[tokio::test]
async fn the_development_issuer_publishes_its_own_keys() {
    let issuer = Issuer::random();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = format!("http://{}/.well-known/jwks.json", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(axum::serve(listener, public_keys(issuer.jwks().unwrap())).into_future());
    let verifier = Verifier::following(&source, Expected::default(), eager()).await.unwrap();
    let identity = Identity::new(TenantId(Uuid::from_u128(1)), Uuid::from_u128(2), [Role::Auditor]);
    let token = issuer.mint(&identity, Duration::from_secs(60)).unwrap();
    assert_eq!(*verifier.verify(&token).await.unwrap(), identity);
    assert!(is_invalid(verifier.verify(&Issuer::random().mint(&identity, Duration::from_secs(60)).unwrap()).await));
    let published = issuer.jwks().unwrap();
    assert!(!published.contains("\"d\""), "only the public half: {published}");
    server.abort();
}

#[tokio::test]
async fn a_socket_ends_with_the_key_of_its_token_and_outlives_an_issuer_that_is_away() {
    let (old, new) = (Signer::p256("old"), Signer::ed25519("new"));
    let issuer = OutsideIssuer::publishing(&[&old]).await;
    let sockets = crate::SocketLimits { recheck: Duration::from_millis(50), ..crate::SocketLimits::default() };
    let limits = crate::HttpLimits { sockets, ..crate::HttpLimits::default() };
    let house = House::checking_within(following(&issuer, eager()).await, limits).await;
    let at = house.listen().await;
    let mut client = house.client_with(&at, &old.sign(&claims())).await;
    client.nothing().await;
    let asks = |token: String| {
        let mut request = house.request(None, json!({ "query": "{ viewer { tenant } }" }).to_string());
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        house.send(request)
    };
    // All keys are gone: that is no answer to anybody.
    issuer.publish(&[]);
    asks(Signer::p256("another").sign(&claims())).await;
    assert_eq!(asks(old.sign(&claims())).await.code(), "UNAVAILABLE");
    client.nothing().await;
    issuer.publish(&[&new]);
    assert_eq!(client.closed().await, (4403, "Forbidden: the token is not valid any more".to_owned()));
    assert_eq!(asks(old.sign(&claims())).await.code(), "UNAUTHENTICATED");
}
