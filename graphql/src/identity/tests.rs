//! The development issuer and what its tokens say.

use std::{fs, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::{
    verifier::{MAX_TOKEN, seconds_now},
    *,
};

fn someone() -> Identity {
    let canteen = CanteenId(Uuid::from_u128(7));
    Identity {
        canteens: Canteens::Only(vec![canteen]),
        ..Identity::new(TenantId(Uuid::from_u128(1)), Uuid::from_u128(2), [Role::Diner, Role::Canteen])
    }
}

fn signed(issuer: &Issuer, claims: &serde_json::Value, algorithm: Algorithm) -> String {
    let key = match algorithm {
        Algorithm::HS256 => EncodingKey::from_secret(b"guess"),
        _ => issuer.signing_key().clone(),
    };
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

#[tokio::test]
async fn a_minted_token_says_who_bears_it() {
    let issuer = Issuer::random();
    let verifier = issuer.verifier().unwrap();
    for identity in [someone(), Identity::staff_of(TenantId(Uuid::from_u128(1)), Uuid::from_u128(9))] {
        let token = issuer.mint(&identity, Duration::from_secs(60)).unwrap();
        assert_eq!(*verifier.verify(&token).await.unwrap(), identity);
        assert_eq!(*verifier.verify(&token).await.unwrap(), identity, "and again, from memory");
    }
}

#[tokio::test]
async fn the_key_is_made_once_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let first = Issuer::open(folder.path()).unwrap();
    let token = first.mint(&someone(), Duration::from_secs(60)).unwrap();
    let again = Issuer::open(folder.path()).unwrap();
    assert!(again.verifier().unwrap().verify(&token).await.is_ok());
    assert_eq!(first.token_secret(), again.token_secret());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the key");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    fs::write(folder.path().join(KEY_FILE), "rubbish").unwrap();
    assert!(matches!(Issuer::open(folder.path()), Err(IdentityError::Key { .. })));
}

#[tokio::test]
async fn a_token_of_another_key_time_issuer_audience_or_algorithm_is_refused() {
    let issuer = Issuer::random();
    let verifier = issuer.verifier().unwrap();
    let now = seconds_now();
    let good = serde_json::json!({
        "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 60,
        "tenant": Uuid::from_u128(1), "sub": Uuid::from_u128(2), "roles": ["diner"],
    });
    assert!(verifier.verify(&signed(&issuer, &good, Algorithm::EdDSA)).await.is_ok());
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let nil = Uuid::nil().to_string();
    let wrong = [
        with("exp", (now - 60).into()),
        with("nbf", (now + 120).into()),
        with("iss", "somebody".into()),
        with("aud", "another service".into()),
        with("roles", serde_json::json!(["king"])),
        with("tenant", nil.clone().into()),
        with("sub", nil.into()),
        without("exp"),
        without("iss"),
        without("aud"),
        without("sub"),
        without("tenant"),
        without("roles"),
    ];
    for claims in wrong {
        let token = signed(&issuer, &claims, Algorithm::EdDSA);
        assert!(matches!(verifier.verify(&token).await, Err(IdentityError::Invalid(_))), "{claims}");
    }
    assert!(verifier.verify(&signed(&issuer, &good, Algorithm::HS256)).await.is_err());
    assert!(verifier.verify(&signed(&Issuer::random(), &good, Algorithm::EdDSA)).await.is_err());
    let token = signed(&issuer, &good, Algorithm::EdDSA);
    let (signed_part, signature) = token.rsplit_once('.').unwrap();
    assert!(verifier.verify(&format!("{signed_part}.")).await.is_err());
    assert!(verifier.verify(&format!("{signed_part}.{}", signature.chars().rev().collect::<String>())).await.is_err());
    assert!(verifier.verify("").await.is_err());
    assert!(verifier.verify(&"x".repeat(MAX_TOKEN + 1)).await.is_err());
}

#[test]
fn staff_work_only_where_the_token_says() {
    let identity = someone();
    assert!(identity.works_in(CanteenId(Uuid::from_u128(7))));
    assert!(!identity.works_in(CanteenId(Uuid::from_u128(8))));
    assert!(!identity.works_everywhere());
    let no_staff = Identity { roles: vec![Role::Diner], canteens: Canteens::ALL, ..someone() };
    assert!(!no_staff.works_in(CanteenId(Uuid::from_u128(7))));
}
