//! What needs no key. The whole attack table runs through the real door, with real signatures (tests/tests/help_center.rs).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode("signature"))
}

const HEADER: &str = r#"{"alg":"RS256","kid":"key 1"}"#;

#[test]
fn a_key_id_is_required() {
    let check = |header: &str, expected: Option<TokenFault>| {
        assert_eq!(Token::read(&token(header, r#"{"exp":1}"#)).err(), expected, "{header}");
    };
    check(HEADER, None);
    check(r#"{"alg":"RS256"}"#, Some(TokenFault::Header));
    check(r#"{"alg":"RS256","kid":""}"#, Some(TokenFault::Header));
    check(r#"{"alg":"RS256","kid":7}"#, Some(TokenFault::Header));
    check(r#"{"alg":"HS256","kid":"key 1"}"#, Some(TokenFault::Header));
    check(r#"{"alg":"none","kid":"key 1"}"#, Some(TokenFault::Header));
    check(r#"{"alg":"RS256","kid":"key 1","jku":"https://evil.example"}"#, Some(TokenFault::Header));
}

#[test]
fn a_token_holds_until_it_expires() {
    let check = |claims: &str, expected: Result<(), TokenFault>| {
        assert_eq!(Token::read(&token(HEADER, claims)).unwrap().check_times(1_000), expected, "{claims}");
    };
    check(r#"{"exp":1001}"#, Ok(()));
    check(r#"{"exp":1000}"#, Err(TokenFault::Expired));
    check(r#"{"userId":1}"#, Err(TokenFault::Expired));
    check(r#"{"exp":null}"#, Err(TokenFault::Expired));
    check(r#"{"exp":"1001"}"#, Err(TokenFault::Malformed));
    check(r#"{"exp":1001.5}"#, Err(TokenFault::Malformed));
    check(r#"{"exp":1001,"nbf":1030,"iat":1030}"#, Ok(()));
    check(r#"{"exp":1001,"nbf":1031}"#, Err(TokenFault::NotYet));
    check(r#"{"exp":1001,"iat":1031}"#, Err(TokenFault::NotYet));
    check(r#"{"exp":1001,"iat":"now"}"#, Err(TokenFault::Malformed));
}

#[test]
fn only_rsa_keys_that_sign_are_taken() {
    let ids = |keys: &str| read_keys(keys).map(|keys| keys.into_iter().map(|key| key.id).collect::<Vec<_>>());
    let key = |id: &str, more: &str| format!(r#"{{"kty":"RSA","kid":"{id}","n":"AQAB","e":"AQAB"{more}}}"#);
    let set = |keys: &[String]| format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    assert_eq!(ids(&set(&[key("a", ""), key("b", r#","use":"sig","alg":"RS256""#)])), Some(vec!["a".into(), "b".into()]));
    let others = [
        key("enc", r#","use":"enc""#),
        key("ps", r#","alg":"PS256""#),
        r#"{"kty":"EC","kid":"ec","crv":"P-256","x":"AA","y":"AA"}"#.into(),
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.into(),
        r#"{"kty":"RSA","kid":"no modulus","e":"AQAB"}"#.into(),
        "7".into(),
    ];
    assert_eq!(ids(&set(&others)), Some(vec![]));
    assert_eq!(ids("[]"), None);
    assert_eq!(ids("<html>"), None);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_at_once_and_many_unknown_ones_rarely() {
    let mut unknown = Unknown::default();
    let called_at = Instant::now();
    tokio::time::advance(Duration::from_secs(10)).await;
    // Fetched 9 s ago, after the call began 10 s ago; and before it began.
    let (since, before) = (called_at + Duration::from_secs(1), called_at);
    for _ in 0..EARLY_REFETCHES {
        let freshness = unknown.next(called_at);
        assert!(freshness.takes(since) && !freshness.takes(before));
    }
    for _ in 0..100 {
        assert!(unknown.next(Instant::now()).takes(before));
    }
    tokio::time::advance(REFETCH_AFTER).await;
    assert!(!unknown.next(Instant::now()).takes(before), "once in this time");
    tokio::time::advance(QUIET).await;
    let now = Instant::now();
    assert!(!unknown.next(now).takes(now), "at once after a quiet time");
}
