//! What needs no key. The whole attack table runs through the real door, with real signatures (tests/tests/sidebar.rs).

use super::*;

fn part(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.{}", part(header), part(payload), part("signature"))
}

const PAYLOAD: &str = r#"{"iss":"https://acme.zendesk.com","aud":"a"}"#;

#[test]
fn only_a_plain_rs256_header_is_read() {
    let check = |header: &str, expected: Result<(), TokenFault>| {
        assert_eq!(Token::read(&token(header, PAYLOAD)).map(drop), expected, "{header}");
    };
    check(r#"{"typ":"JWT","alg":"RS256"}"#, Ok(()));
    for id in ["key-1_a", "ops@example.com", "2026.11.v2", "Schlüssel 7", ""] {
        check(&format!(r#"{{"alg":"RS256","kid":"{id}"}}"#), Ok(()));
    }
    for wrong in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"RS384"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":["RS256"]}"#,
        r#"{"alg":"rs256"}"#,
        r"{}",
        r#"{"alg":"RS256","jku":"https://evil.example/keys"}"#,
        r#"{"alg":"RS256","jwk":{"kty":"RSA"}}"#,
        r#"{"alg":"RS256","x5u":"https://evil.example"}"#,
        r#"{"alg":"RS256","x5c":["…"]}"#,
        r#"{"alg":"RS256","crit":["exp"]}"#,
        r#"{"alg":"RS256","kid":"../../dev/null"}"#,
        r#"{"alg":"RS256","kid":"key?id=1"}"#,
        r#"{"alg":"RS256","kid":"a\nb"}"#,
        r#"{"alg":"RS256","kid":"' OR 1=1"}"#,
        r#"{"alg":"RS256","kid":7}"#,
    ] {
        check(wrong, Err(TokenFault::Header));
    }
}

#[test]
fn malformed_tokens_are_refused_unread() {
    let long = format!("{}.{}", token(r#"{"alg":"RS256"}"#, PAYLOAD), "x".repeat(MAX_TOKEN_BYTES));
    for wrong in ["", "a", "a.b", "a.b.c", "a.b.c.d", "..", long.as_str()] {
        assert_eq!(Token::read(wrong), Err(TokenFault::Malformed), "{}", &wrong[..wrong.len().min(20)]);
    }
    assert_eq!(Token::read(&token(r#"{"alg":"RS256"}"#, r#"{"aud":"a"}"#)), Err(TokenFault::Issuer));
    assert_eq!(Token::read(&token(r#"{"alg":"RS256"}"#, r#"{"iss":"i","aud":["a","b"]}"#)), Err(TokenFault::Audience));
}

#[test]
fn the_subject_is_a_user_of_the_account() {
    let check = |subject: &str, expected: Option<u64>| assert_eq!(agent_id(subject, "acme.zendesk.com"), expected, "{subject}");
    check("https://acme.zendesk.com/api/v2/users/35436.json", Some(35436));
    for wrong in [
        "https://evil.example/api/v2/users/35436.json",
        "https://acme.zendesk.com.evil.example/api/v2/users/35436.json",
        "https://acme.zendesk.com/api/v2/users/abc.json",
        "https://acme.zendesk.com/api/v2/users/-1.json",
        "https://acme.zendesk.com/api/v2/users/+1.json",
        "https://acme.zendesk.com/api/v2/users/0.json",
        "https://acme.zendesk.com/api/v2/users/.json",
        "https://acme.zendesk.com/api/v2/users/1",
        "https://acme.zendesk.com/api/v2/users/1.json/2.json",
        "35436",
    ] {
        check(wrong, None);
    }
}
