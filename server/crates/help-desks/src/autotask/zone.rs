//! Where a tenant lives: Autotask spreads tenants over zones and now and then moves one (autotask-extension.md a.1).
//!
//! Must not send the secret: the question is answered to anybody, and the answer decides where the secret goes, so it is
//! believed only if it names a host of Autotask.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::{Host, Url};

use super::error_texts;
use crate::HelpDeskError;
use deskbridge_core::settings::is_outside_address;
use deskbridge_core::text::shown;
use deskbridge_http_client as outgoing;
use deskbridge_http_client::cached::{Cached, Freshness, Lifetime};

/// Any zone can be asked.
const ANY_ZONE: &str = "https://webservices2.autotask.net/atservicesrest/";
/// The path of the REST service, in the writing of the vendor's own samples.
const SERVICE: &str = "atservicesrest";
/// A zone is believed this long.
const LIFE: Duration = Duration::from_hours(12);
/// Refused credentials make us look for another zone no more often than this.
const AGAIN_AFTER_REFUSAL: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 64 * 1024;

/// A tenant's zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// What people call it.
    pub name: Option<String>,
    /// The service's address, as answered: the path's case matters to some zones.
    pub api: Url,
    /// The pages' address, if it is one of Autotask.
    pub web: Option<Url>,
}

impl Zone {
    /// The address of a path below `v1.0/`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}v1.0/{path}", self.api)
    }
}

/// Finds the tenant's zone.
pub(super) struct Zones {
    http: reqwest::Client,
    username: String,
    asked: Url,
    /// The one that `services_url` names: taken where Autotask cannot tell one.
    named: Option<Zone>,
    kept: Cached<Zone, HelpDeskError>,
    /// When it was last looked for another zone.
    after_refusal: Mutex<Option<Instant>>,
}

impl Zones {
    /// `services_url`: of any age; without one any zone is asked.
    pub(super) fn new(http: reqwest::Client, username: String, services_url: Option<&str>) -> Result<Self, String> {
        let asked =
            service_of(services_url.unwrap_or(ANY_ZONE)).ok_or("services_url: an address like https://webservices5.autotask.net/")?;
        Ok(Self {
            http,
            username,
            named: services_url.and_then(|_| zone_of(&asked)),
            asked,
            kept: Cached::new(Lifetime::renewed_after(LIFE), super::FAILURE_LIFE),
            after_refusal: Mutex::default(),
        })
    }

    pub(super) async fn current(&self) -> Result<Arc<Zone>, HelpDeskError> {
        self.kept.get(&Freshness::any(), || self.discover()).await
    }

    /// The zone refused the credentials: perhaps the tenant was moved. The answer is its new zone, if it has one.
    pub(super) async fn after_refusal(&self, refused: &Zone) -> Option<Arc<Zone>> {
        let mut asked_at = self.after_refusal.lock().await;
        if let Some(known) = self.kept.peek().filter(|known| known.api != refused.api) {
            return Some(known);
        }
        if asked_at.is_some_and(|at| at.elapsed() < AGAIN_AFTER_REFUSAL) {
            return None;
        }
        let found = self.discover().await;
        // Counted from the end: those who wait here must not each wait for an answer that does not come.
        *asked_at = Some(Instant::now());
        let found = found.inspect_err(|error| tracing::debug!(%error, "no other zone found")).ok()?;
        if found.api == refused.api {
            return None;
        }
        tracing::info!(zone = %found.api, "the Autotask tenant has moved to another zone");
        let found = Arc::new(found);
        self.kept.put(found.clone());
        Some(found)
    }

    async fn discover(&self) -> Result<Zone, HelpDeskError> {
        let passing = |what: &str| HelpDeskError::passing(format!("Autotask's zones: {what}"));
        let mut url = format!("{}v1.0/zoneInformation?", self.asked);
        deskbridge_shared::percent::append_pair(&mut url, "user", &self.username);
        let response = self.http.get(url).send().await.map_err(|error| passing(outgoing::describe(&error)))?;
        let status = response.status().as_u16();
        let body = outgoing::read_body(response, MAX_ANSWER).await.map_err(|error| passing(&error.to_string()))?;
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        // A user that is not known has no zone, which Autotask says with 500 in its own words (autotask-extension.md a.1).
        let is_unknown = match status {
            401 | 403 | 404 => true,
            500 => error_texts::errors(&body)
                .is_some_and(|said| !error_texts::passes(&said) && error_texts::throttled(status, &said).is_none()),
            _ => false,
        };
        match status {
            200 if body["url"].is_string() => self.read(&body),
            // Not in place of a zone that was found: the tenant may have moved since the settings were written.
            _ if is_unknown
                && self.kept.peek().is_none()
                && let Some(named) = &self.named =>
            {
                tracing::info!(zone = %named.api, status, "Autotask tells no zone of the API user; the one of services_url is taken");
                Ok(named.clone())
            }
            _ if is_unknown => Err(HelpDeskError::Denied(format!(
                "Autotask knows no API user “{}”; check username: it is the user's key, which looks like an e-mail address",
                self.username
            ))),
            _ => Err(passing(&match error_texts::said(&body) {
                Some(said) => format!("HTTP {status}: {said}"),
                None => format!("HTTP {status} without a zone"),
            })),
        }
    }

    #[cfg(test)]
    pub(super) fn wait_with(&mut self, http: reqwest::Client) {
        self.http = http;
    }

    fn read(&self, answer: &Value) -> Result<Zone, HelpDeskError> {
        let address = |name: &str| {
            let text = answer[name].as_str()?;
            let url = Url::parse(&if text.ends_with('/') { text.to_owned() } else { format!("{text}/") }).ok()?;
            self.is_believed(&url).then_some(url)
        };
        let api = address("url").ok_or_else(|| {
            HelpDeskError::Refused(format!(
                "Autotask's zones answered an address that is none of Autotask's ({}); check services_url",
                shown(answer["url"].as_str().unwrap_or_default(), 100)
            ))
        })?;
        Ok(Zone { name: answer["zoneName"].as_str().map(|name| name.chars().take(60).collect()), api, web: address("webUrl") })
    }

    /// Whether the secret may go there.
    fn is_believed(&self, url: &Url) -> bool {
        let is_autotasks = url.host_str().is_some_and(|host| host.ends_with(".autotask.net"));
        is_outside_address(url.as_str())
            && (is_autotasks && url.scheme() == "https" || url.host() == self.asked.host() || is_loopback(url) && is_loopback(&self.asked))
    }
}

/// The zone whose host that is. The host of all zones together (`webservices.autotask.net`) is none.
fn zone_of(service: &Url) -> Option<Zone> {
    let name = service.host_str()?.strip_suffix(".autotask.net")?;
    let pages = match name.strip_prefix("webservices") {
        Some(number) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => format!("ww{number}"),
        None if !name.contains('.') => name.to_owned(),
        _ => return None,
    };
    let web = Url::parse(&format!("https://{pages}.autotask.net/")).ok();
    Some(Zone { name: None, api: service.clone(), web })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The REST service behind a services URL of any age: one of SOAP (`…/atservices/1.5/atws.asmx`), one of REST, a bare host, or
/// the address of the tenant's pages (`https://ww5.autotask.net`).
fn service_of(services_url: &str) -> Option<Url> {
    let mut url = Url::parse(services_url).ok()?;
    let zone_of_pages = url.host_str()?.strip_prefix("ww").and_then(|rest| rest.strip_suffix(".autotask.net"));
    if let Some(number) = zone_of_pages.filter(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())) {
        let host = format!("webservices{number}.autotask.net");
        url.set_host(Some(&host)).ok()?;
    }
    let segments: Vec<&str> = url.path_segments()?.collect();
    let path = match segments.iter().position(|segment| segment.eq_ignore_ascii_case(SERVICE)) {
        Some(at) => format!("/{}/", segments[..=at].join("/")),
        None => format!("/{SERVICE}/"),
    };
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_urls_of_any_age_are_understood() {
        let check = |given: &str, expected: &str| assert_eq!(service_of(given).unwrap().as_str(), expected, "{given}");
        let five = "https://webservices5.autotask.net/atservicesrest/";
        check("https://webservices5.autotask.net/atservices/1.5/atws.asmx", five);
        check("https://webservices5.autotask.net/atservices/1.6/atws.wsdl", five);
        check("https://webservices5.autotask.net", five);
        check("https://webservices5.autotask.net/autotaskservices1/Status.aspx", five);
        check("https://ww5.autotask.net/Autotask/Views/Administration/Admin.aspx?x=1", five);
        check("https://webservices5.autotask.net/ATServicesRest/v1.0/", "https://webservices5.autotask.net/ATServicesRest/");
        check("https://prde.autotask.net/", "https://prde.autotask.net/atservicesrest/");
        check("http://127.0.0.1:8443/ATServicesRest", "http://127.0.0.1:8443/ATServicesRest/");
    }

    #[test]
    fn the_secret_goes_to_autotask_only() {
        let zones = |services_url| Zones::new(reqwest::Client::builder().build().unwrap(), "api@example.com".into(), services_url).unwrap();
        let check = |services_url, url: &str, believed: bool| {
            let answer = json!({ "url": url, "webUrl": "https://ww5.autotask.net/" });
            assert_eq!(zones(services_url).read(&answer).is_ok(), believed, "{url}");
        };
        check(None, "https://webservices12.autotask.net/ATServicesRest/", true);
        check(None, "http://webservices12.autotask.net/ATServicesRest/", false);
        check(None, "https://autotask.net.example.com/", false);
        check(None, "https://xautotask.net/", false);
        check(None, "https://webservices5.autotask.net@example.com/", false);
        check(None, "http://127.0.0.1:80/", false);
        check(Some("http://127.0.0.1:1234/"), "http://127.0.0.1:4321/ATServicesRest/", true);
        check(Some("https://proxy.example.com/"), "https://proxy.example.com/ATServicesRest", true);
        let zone =
            zones(None).read(&json!({ "url": "https://webservices2.autotask.net/ATServicesRest", "webUrl": "https://evil.example" }));
        let zone = zone.unwrap();
        assert_eq!((zone.url("Tickets"), zone.web), ("https://webservices2.autotask.net/ATServicesRest/v1.0/Tickets".into(), None));
    }
}
