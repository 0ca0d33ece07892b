//! Requests to outside systems: no redirects, no hidden retries, bounded time and size.

pub mod cached;
pub mod limiter;
pub mod oauth;
pub mod refusals;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use deskbridge_core::text::shown;
use reqwest::redirect::Policy;

/// Time to reach a system.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a whole request.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A client builder with our bounds; the caller adds what its system needs.
pub fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .user_agent(concat!("Deskbridge/", env!("CARGO_PKG_VERSION")))
}

/// The one client for systems that need nothing but our bounds: ten thousand connections share its certificates and its pool.
pub fn shared() -> reqwest::Result<reqwest::Client> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    let made = client().build()?;
    Ok(CLIENT.get_or_init(|| made).clone())
}

/// The shared client, or one that trusts a file's certificates (PEM) besides those the machine trusts. The error names the setting at fault.
pub fn trusting(ca_file: Option<&Path>) -> Result<reqwest::Client, String> {
    let no_client = |_| "no HTTP client; check the machine's TLS certificates".to_owned();
    let Some(path) = ca_file else { return shared().map_err(no_client) };
    let certificates = certificates(path).ok_or("ca_file: a readable file with certificates in PEM form")?;
    client().tls_certs_merge(certificates).build().map_err(no_client)
}

/// Certificates of a file; `None`: it has none that can be read.
pub fn certificates(path: &Path) -> Option<Vec<reqwest::Certificate>> {
    let certificates = reqwest::Certificate::from_pem_bundle(&std::fs::read(path).ok()?).ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// What can be told of an answer that was not expected: what a web page calls itself, else the text's beginning. At most so many characters
/// of either.
pub fn excerpt(text: &str, at_most: usize) -> String {
    let title = || text.split_once("<title>")?.1.split_once("</title>");
    match title() {
        Some((title, _)) => format!("a web page, “{}”", shown(title.trim(), at_most)),
        None => shown(text.trim(), at_most),
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More than allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection failed on the way.
    #[error("the answer broke off")]
    Broken(#[source] reqwest::Error),
}

/// Reads an answer's body, at most `cap` bytes.
pub async fn read_body(response: reqwest::Response, cap: usize) -> Result<Vec<u8>, BodyError> {
    let beginning = read_beginning(response, cap).await.map_err(BodyError::Broken)?;
    if beginning.is_whole { Ok(beginning.body) } else { Err(BodyError::TooLarge(cap)) }
}

/// What was read of a body.
pub struct Beginning {
    /// Its beginning.
    pub body: Vec<u8>,
    /// Nothing follows.
    pub is_whole: bool,
}

/// Reads the first `cap` bytes of an answer's body, or so many as there are.
pub async fn read_beginning(mut response: reqwest::Response, cap: usize) -> Result<Beginning, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let left = cap - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(left)]);
        if chunk.len() > left {
            return Ok(Beginning { body, is_whole: false });
        }
    }
    Ok(Beginning { body, is_whole: true })
}

/// What went wrong with a request, in words without the URL (it may hold a secret).
pub fn describe(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection (host, port, network or certificate)"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request failed"
    }
}

/// Whether not a byte of the request left: what it asks for was not done, and will not be.
pub fn never_left(error: &reqwest::Error) -> bool {
    error.is_connect() || error.is_builder()
}

/// `Retry-After`, in seconds or as a date, at most an hour. A date counts from the answer's own `Date`: our clock may differ from theirs.
pub fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(reqwest::header::RETRY_AFTER)?;
    let wait = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = |text| httpdate::parse_http_date(text).ok();
        // A date that passed says nothing.
        date(value)?.duration_since(date(text(reqwest::header::DATE)?)?).ok().filter(|wait| !wait.is_zero())?
    };
    Some(wait.min(Duration::from_hours(1)))
}

/// The time until a moment in Unix seconds that an answer names, at most an hour. It counts from the answer's own `Date`: our clock may differ
/// from theirs. None: it has passed, or the answer has no date.
pub fn time_until(headers: &reqwest::header::HeaderMap, moment: u64) -> Option<Duration> {
    let date = httpdate::parse_http_date(headers.get(reqwest::header::DATE)?.to_str().ok()?).ok()?;
    let moment = std::time::UNIX_EPOCH.checked_add(Duration::from_secs(moment))?;
    moment.duration_since(date).ok().filter(|wait| !wait.is_zero()).map(|wait| wait.min(Duration::from_hours(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

    #[test]
    fn an_excerpt_is_a_web_pages_title_or_the_beginning() {
        for (text, expected) in [
            ("<html><title> Sign in\n</title><p>x", "a web page, “Sign in”"),
            ("<title>Endless", "<title>End"),
            (" Retry later\n", "Retry late"),
            ("", ""),
        ] {
            assert_eq!(excerpt(text, 10), expected, "{text}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_told() {
        let told = trusting(Some(Path::new(file!()))).unwrap_err();
        assert!(told.starts_with("ca_file: "), "{told}");
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        let wait = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value), (DATE, date.clone())]))
        };
        for (value, seconds) in [
            (" 7 ", Some(7)),
            ("999999", Some(3_600)),
            ("0", Some(0)),
            ("soon", None),
            ("-1", None),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(3_600)),
        ] {
            assert_eq!(wait(value), seconds.map(Duration::from_secs), "{value}");
        }
        let undated = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("Sun, 06 Nov 1994 08:50:07 GMT"))]);
        assert_eq!(retry_after(&undated), None);
    }

    #[test]
    fn a_moment_counts_from_the_answers_date() {
        let dated = HeaderMap::from_iter([(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"))]);
        for (moment, seconds) in
            [(784_111_807, Some(30)), (784_111_777, None), (784_000_000, None), (794_111_777, Some(3_600)), (u64::MAX, None)]
        {
            assert_eq!(time_until(&dated, moment), seconds.map(Duration::from_secs), "{moment}");
        }
        assert_eq!(time_until(&HeaderMap::new(), 784_111_807), None);
    }
}
