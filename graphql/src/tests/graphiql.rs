//! GraphiQL comes from the server alone.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};

use crate::testing::House;

async fn fetched(house: &House, path: &str) -> (StatusCode, HeaderMap, String) {
    let response = house.call(Request::get(path).body(Body::empty()).unwrap()).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// What `page` loads: the values of `src` and `href`.
fn loads(page: &str) -> Vec<&str> {
    let after = |attribute: &'static str| page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
    after(" src=\"").chain(after(" href=\"")).collect()
}

#[tokio::test]
async fn its_page_runs_no_script_but_the_servers_and_asks_nobody_else() {
    let house = House::open().await;
    let (status, headers, page) = fetched(&house, "/").await;
    assert_eq!(
        (status, &headers[header::CONTENT_TYPE]),
        (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap())
    );
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    for part in ["default-src 'none'", "script-src 'self';", "connect-src 'self';", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("http:") && !policy.contains("https:") && !policy.contains('*'), "{policy}");
    assert!(page.contains("<script src=") && !page.contains("<script>"), "{page}");
    let files: Vec<&str> = loads(&page).into_iter().filter(|address| !address.starts_with("data:")).collect();
    assert_eq!(files.len(), 2, "{page}");
    for file in files {
        assert!(file.starts_with("/graphiql/"), "{file}");
        let (status, headers, content) = fetched(&house, file).await;
        assert_eq!(status, StatusCode::OK, "{file}");
        let kind = if file.ends_with(".js") { "text/javascript; charset=utf-8" } else { "text/css; charset=utf-8" };
        assert_eq!(headers[header::CONTENT_TYPE], kind);
        assert_eq!(headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert!(content.len() > 100_000, "{file} has {} bytes", content.len());
        assert!(!content.contains("url(http") && !content.contains("@import"), "{file} loads something");
    }
}

#[tokio::test]
async fn a_file_of_another_version_is_not_there() {
    let house = House::open().await;
    let (status, ..) = fetched(&house, "/graphiql/00000000000000000000.js").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
