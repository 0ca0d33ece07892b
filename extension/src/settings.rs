//! What is set: by the user (`storage.local`), and before that by the administrator (`storage.managed`). Pure.
//!
//! Everything that comes out of storage is checked again here: a policy may hold anything, and what an older version stored may be gone from this one.

use deskbridge_shared::device::DeviceConnection;
use deskbridge_shared::{host, percent};
use serde::{Deserialize, Serialize};

use crate::idna::idna;
use crate::json::{lenient, lenient_list};
use crate::site::{SiteKind, SiteSettings};

/// Every zone of Autotask (autotask-extension.md a.1); the manifest asks for these hosts.
pub const AUTOTASK: &str = "https://*.autotask.net/";
/// More sites than this are not read.
pub const MAX_SITES: usize = 50;
/// Longest address and longest list of selectors or labels, in characters and in entries.
const MAX_ADDRESS: usize = 500;
const MAX_LIST: usize = 20;

/// A language of the extension's own texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// As the browser.
    #[default]
    Auto,
    /// English.
    En,
    /// German.
    De,
}

impl Language {
    /// In the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Auto, Self::En, Self::De];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// The language of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.name() == name)
    }

    /// The language to speak where the browser speaks `browser` (as in `de-AT`).
    pub fn tag(self, browser: &str) -> &str {
        match self {
            Self::Auto => browser,
            chosen => chosen.name(),
        }
    }
}

/// What the user has set; his part of `storage.local`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stored {
    /// The server's origin, or nothing yet.
    #[serde(deserialize_with = "lenient")]
    pub server: String,
    /// The sites; `None`: Autotask, which is on from the start.
    #[serde(deserialize_with = "lenient_list")]
    pub sites: Option<Vec<SiteSettings>>,
    /// The language.
    #[serde(deserialize_with = "lenient")]
    pub language: Language,
}

/// What a policy may set (`managed_schema.json`); the names are the policy's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Managed {
    /// The server's origin.
    #[serde(deserialize_with = "lenient")]
    pub server_url: Option<String>,
    /// The sites, in place of the user's.
    #[serde(deserialize_with = "lenient_list")]
    pub sites: Option<Vec<ManagedSite>>,
    /// A pairing code for many devices: the extension pairs itself.
    #[serde(deserialize_with = "lenient")]
    pub enrolment_token: Option<String>,
}

/// A site as a policy writes it: only kind and address are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedSite {
    /// `autotask`, `osticket` or `request_tracker`.
    pub kind: SiteKind,
    /// Its address; for Autotask every zone if it is left out.
    #[serde(default)]
    pub url: Option<String>,
    /// The connection's name; found by the address if it is left out.
    #[serde(default)]
    pub connection: String,
    /// Labels of the field with the machine's name.
    #[serde(default)]
    pub target_labels: Vec<String>,
    /// Selectors of the element with the machine's name.
    #[serde(default)]
    pub target_selectors: Vec<String>,
    /// Selectors of the element to put the button into.
    #[serde(default)]
    pub mount_selectors: Vec<String>,
}

/// This browser as the server knows it, since it was paired; part of `storage.local`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Paired {
    /// The server's origin at that time: what requests are signed for.
    pub server: String,
    /// The device's id.
    pub device: String,
    /// Its name.
    pub name: String,
    /// The agent, if the code was for one.
    pub agent: Option<String>,
    /// What it may be used for.
    pub connections: Vec<DeviceConnection>,
}

/// What holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server's origin; empty: not set.
    pub server: String,
    /// The sites.
    pub sites: Vec<SiteSettings>,
    /// The language.
    pub language: Language,
    /// Whether a policy sets the server.
    pub server_is_managed: bool,
    /// Whether a policy sets the sites.
    pub sites_are_managed: bool,
    /// A policy's token to pair with.
    pub enrolment_token: Option<String>,
}

impl Settings {
    /// The user's, with the administrator's before them. What is unusable is left out.
    pub fn of(stored: &Stored, managed: &Managed) -> Self {
        let managed_server = managed.server_url.as_deref().and_then(|url| normalize_server(url).ok());
        let managed_sites = managed.sites.as_ref().map(|sites| sites.iter().take(MAX_SITES).filter_map(ManagedSite::settings).collect());
        let own_sites = || match &stored.sites {
            None => vec![autotask()],
            Some(sites) => sites.iter().take(MAX_SITES).filter_map(checked).collect(),
        };
        Self {
            server_is_managed: managed_server.is_some(),
            server: managed_server.or_else(|| normalize_server(&stored.server).ok()).unwrap_or_default(),
            sites_are_managed: managed_sites.is_some(),
            sites: managed_sites.unwrap_or_else(own_sites),
            language: stored.language,
            enrolment_token: managed.enrolment_token.clone().filter(|token| !token.is_empty() && token.len() <= MAX_ADDRESS),
        }
    }
}

/// The server and the token to pair with by policy. `None`: no policy asks for it, or it is done.
pub fn enrolment(stored: &Stored, managed: &Managed, paired: Option<&Paired>) -> Option<(String, String)> {
    let settings = Settings::of(stored, managed);
    let is_done = paired.is_some_and(|paired| paired.server == settings.server);
    let token = settings.enrolment_token.filter(|_| settings.server_is_managed && !is_done)?;
    Some((settings.server, token))
}

impl ManagedSite {
    fn settings(&self) -> Option<SiteSettings> {
        checked(&SiteSettings {
            kind: self.kind,
            url: self.url.clone().unwrap_or_else(|| if self.kind == SiteKind::Autotask { AUTOTASK.into() } else { String::new() }),
            connection: self.connection.clone(),
            target_labels: self.target_labels.clone(),
            target_selectors: self.target_selectors.clone(),
            mount_selectors: self.mount_selectors.clone(),
        })
    }
}

/// Autotask as it is from the start.
pub fn autotask() -> SiteSettings {
    site(SiteKind::Autotask, AUTOTASK.into())
}

/// A site with nothing set but its address.
pub fn site(kind: SiteKind, url: String) -> SiteSettings {
    let none = Vec::new;
    SiteSettings { kind, url, connection: String::new(), target_labels: none(), target_selectors: none(), mount_selectors: none() }
}

fn checked(site: &SiteSettings) -> Option<SiteSettings> {
    let mut site = site.clone();
    site.url = normalize_site(site.kind, &site.url).ok()?;
    for list in [&mut site.target_labels, &mut site.target_selectors, &mut site.mount_selectors] {
        list.retain(|entry| !entry.trim().is_empty() && entry.len() <= MAX_ADDRESS);
        list.truncate(MAX_LIST);
    }
    Some(site)
}

/// Why an address cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFault {
    /// Nothing was given.
    Empty,
    /// It is no web address.
    NotAnAddress,
    /// It is not `https` (and not on this machine).
    NotHttps,
    /// No host can have this name, which has letters beyond ASCII; or it has symbols, which are not taken.
    BadName,
}

/// A server's address as its origin: what requests go to and are signed for.
pub fn normalize_server(typed: &str) -> Result<String, AddressFault> {
    Address::parse(typed, false).map(|address| address.origin)
}

/// A site's address as origin and base path with a slash at its end. A page of the ticket system will do: what is behind the base is cut off.
pub fn normalize_site(kind: SiteKind, typed: &str) -> Result<String, AddressFault> {
    let address = Address::parse(typed, kind == SiteKind::Autotask)?;
    let base = match kind {
        SiteKind::Autotask => "/",
        SiteKind::Osticket => osticket_base(&address.path),
        SiteKind::RequestTracker => request_tracker_base(&address.path),
    };
    Ok(format!("{}{base}", address.origin))
}

/// osTicket's pages stand in its root, the agents' ones below `scp/` (osticket.md 3.4).
fn osticket_base(path: &str) -> &str {
    let path = path.find("/scp/").map_or(path, |at| &path[..=at]);
    let path = path.strip_suffix("scp").unwrap_or(path);
    &path[..=path.rfind('/').unwrap_or(0)]
}

/// RT's pages stand in its root, a ticket's below `Ticket/`.
fn request_tracker_base(path: &str) -> &str {
    let path = path.find("/Ticket/").map_or(path, |at| &path[..=at]);
    &path[..=path.rfind('/').unwrap_or(0)]
}

/// The pattern of a site's pages, for content scripts. Ports cannot stand in one (Firefox), so it covers all of them; the background looks again.
pub fn match_pattern(site: &str) -> Option<String> {
    let (origin, path) = split_origin(site)?;
    Some(format!("{}{path}*", without_port(origin)))
}

/// The pattern of a site's host, to ask the user for.
pub fn permission_pattern(site: &str) -> Option<String> {
    let (origin, _) = split_origin(site)?;
    Some(format!("{}/*", without_port(origin)))
}

/// The connection for a site: the chosen one, else the only one that fits. `None`: somebody must choose.
pub fn connection_of<'a>(site: &'a SiteSettings, connections: &'a [DeviceConnection]) -> Option<&'a str> {
    if !site.connection.is_empty() {
        return Some(&site.connection);
    }
    let mut fitting = connections.iter().filter(|connection| fits(site, connection));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first.name.as_str())
}

/// Whether a connection is for such a site: of its kind, and at its address. Autotask's zones move (autotask-extension.md a.1), so any will do.
pub fn fits(site: &SiteSettings, connection: &DeviceConnection) -> bool {
    let same = match site.kind {
        SiteKind::Autotask => true,
        SiteKind::Osticket | SiteKind::RequestTracker => {
            let own = connection.site.as_deref().unwrap_or_default();
            let address = normalize_site(site.kind, &format!("{}/", own.trim_end_matches('/')));
            address.is_ok_and(|address| address == site.url)
        }
    };
    site.kind.is_of(connection) && same
}

/// An address in the browser's own form.
struct Address {
    origin: String,
    path: String,
}

impl Address {
    fn parse(typed: &str, wildcard: bool) -> Result<Self, AddressFault> {
        let typed = typed.trim();
        if typed.is_empty() {
            return Err(AddressFault::Empty);
        }
        // Nobody types the scheme.
        let (scheme, rest) = typed.split_once("://").unwrap_or(("https", typed));
        let scheme = scheme.to_ascii_lowercase();
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let authority = authority.to_ascii_lowercase();
        let (host, port) = authority.rsplit_once(':').map_or((authority.as_str(), None), |(host, port)| (host, Some(port)));
        let (any, name) = if wildcard && host.starts_with("*.") { host.split_at(2) } else { ("", host) };
        let ascii = host::to_ascii(name, idna);
        let ported = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port));
        let path = encode(path);
        let pathed = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'"' | b'\'' | b'<' | b'>' | b'\\'));
        let Some(ascii) = ascii.filter(|_| typed.len() <= MAX_ADDRESS && ported && pathed) else {
            let is_name = host::is_international(name) && host::to_ascii(name, idna).is_none();
            return Err(if is_name { AddressFault::BadName } else { AddressFault::NotAnAddress });
        };
        let plain = matches!(host, "localhost" | "127.0.0.1");
        if !(scheme == "https" || scheme == "http" && plain) {
            return Err(AddressFault::NotHttps);
        }
        let default_port = if scheme == "https" { "443" } else { "80" };
        let port = port.filter(|port| *port != default_port).map_or_else(String::new, |port| format!(":{port}"));
        Ok(Self { origin: format!("{scheme}://{any}{ascii}{port}"), path: if path.is_empty() { "/".into() } else { path } })
    }
}

/// A path as browsers write it: letters beyond ASCII percent-encoded.
fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for character in path.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            percent::encode_into(&mut out, character.encode_utf8(&mut [0; 4]));
        }
    }
    out
}

fn split_origin(site: &str) -> Option<(&str, &str)> {
    let host = site.find("://")? + 3;
    let path = site[host..].find('/')? + host;
    Some(site.split_at(path))
}

fn without_port(origin: &str) -> &str {
    match origin.rsplit_once(':') {
        Some((before, port)) if !port.starts_with('/') => before,
        _ => origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_pairs_once_and_with_its_own_server_only() {
        const SERVER: &str = "https://remote.example.com";
        let stored = Stored { server: "https://own.example.com".into(), ..Stored::default() };
        let policy = |server_url: Option<&str>, token: Option<&str>| Managed {
            server_url: server_url.map(str::to_owned),
            enrolment_token: token.map(str::to_owned),
            ..Managed::default()
        };
        let paired =
            |server: &str| Paired { server: server.into(), device: "d".into(), name: "n".into(), agent: None, connections: Vec::new() };
        let due = Some((SERVER.to_owned(), "token".to_owned()));
        let whole = policy(Some("https://remote.example.com/"), Some("token"));
        assert_eq!(enrolment(&stored, &whole, None), due);
        assert_eq!(enrolment(&stored, &whole, Some(&paired("https://own.example.com"))), due, "paired with another server");
        assert_eq!(enrolment(&stored, &whole, Some(&paired(SERVER))), None, "done");
        assert_eq!(enrolment(&stored, &policy(None, Some("token")), None), None, "the user's server gets no policy's token");
        assert_eq!(enrolment(&stored, &policy(Some(SERVER), None), None), None);
    }

    #[test]
    fn a_server_is_its_origin() {
        let check = |typed, expected: Result<&str, AddressFault>| {
            assert_eq!(normalize_server(typed), expected.map(str::to_owned), "{typed}");
        };
        check(" https://Remote.example.com/ ", Ok("https://remote.example.com"));
        check("remote.example.com", Ok("https://remote.example.com"));
        check("https://remote.example.com:443/pair#CODE", Ok("https://remote.example.com"));
        check("https://remote.example.com:8443/x?y", Ok("https://remote.example.com:8443"));
        check("http://127.0.0.1:8180", Ok("http://127.0.0.1:8180"));
        check("http://localhost:80", Ok("http://localhost"));
        check("", Err(AddressFault::Empty));
        check("http://remote.example.com", Err(AddressFault::NotHttps));
        check("ftp://remote.example.com", Err(AddressFault::NotHttps));
        check("javascript:alert(1)", Err(AddressFault::NotAnAddress));
        check("https://user@remote.example.com", Err(AddressFault::NotAnAddress));
        check("https://*.example.com", Err(AddressFault::NotAnAddress));
        check("https://remote..example.com", Err(AddressFault::NotAnAddress));
        check("https://remote.example.com:0", Err(AddressFault::NotAnAddress));
        check("https://remote.example.com:+80", Err(AddressFault::NotAnAddress));
        check("hilfe.müller.de", Ok("https://hilfe.xn--mller-kva.de"));
        check(" HTTPS://Hilfe.MÜLLER.de:8443/pair ", Ok("https://hilfe.xn--mller-kva.de:8443"));
        check("https://hilfe.xn--mller-kva.de", Ok("https://hilfe.xn--mller-kva.de"));
        check("http://hilfe.müller.de", Err(AddressFault::NotHttps));
        check("https://hilfe.müller.de:0", Err(AddressFault::NotAnAddress));
        for bad in ["hilfe..müller.de", "hilfe müller.de", "https://xn--", "xn--a.de", "https://😀.de", "hilfe.müller😀.de", "אa.de"]
        {
            check(bad, Err(AddressFault::BadName));
        }
        for line in include_str!("../../shared/src/host_names.txt").lines().filter(|line| !line.starts_with('#')) {
            let (typed, used) = line.split_once(' ').unwrap();
            let used = Some(used.trim()).filter(|used| *used != "-").map(|name| format!("https://{name}"));
            assert_eq!(normalize_server(typed).ok(), used, "{typed}");
        }
    }

    #[test]
    fn a_site_is_its_origin_and_base() {
        let check = |typed, expected: Result<&str, AddressFault>| {
            assert_eq!(normalize_site(SiteKind::Osticket, typed), expected.map(str::to_owned), "{typed}");
        };
        check("desk.example.com", Ok("https://desk.example.com/"));
        check("https://desk.example.com/scp/tickets.php?id=3", Ok("https://desk.example.com/"));
        check("https://desk.example.com/support/scp/tickets.php?id=3", Ok("https://desk.example.com/support/"));
        check("https://desk.example.com/support/scp", Ok("https://desk.example.com/support/"));
        check("https://desk.example.com/support/", Ok("https://desk.example.com/support/"));
        check("https://desk.example.com/support/index.php", Ok("https://desk.example.com/support/"));
        check("https://Hilfe.müller.de/Störung/scp/tickets.php", Ok("https://hilfe.xn--mller-kva.de/St%C3%B6rung/"));
        check("https://desk.example.com/*", Err(AddressFault::NotAnAddress));
        check("http://desk.example.com/", Err(AddressFault::NotHttps));
        for (typed, expected) in [
            ("rt.example.com", "https://rt.example.com/"),
            ("https://rt.example.com/rt/", "https://rt.example.com/rt/"),
            ("https://rt.example.com/rt/Ticket/Display.html?id=3", "https://rt.example.com/rt/"),
            ("https://rt.example.com/rt/index.html", "https://rt.example.com/rt/"),
        ] {
            assert_eq!(normalize_site(SiteKind::RequestTracker, typed).as_deref(), Ok(expected), "{typed}");
        }
        assert_eq!(normalize_site(SiteKind::Autotask, "https://*.autotask.net/").as_deref(), Ok(AUTOTASK));
        assert_eq!(normalize_site(SiteKind::Autotask, "ww3.autotask.net/Mvc/x").as_deref(), Ok("https://ww3.autotask.net/"));
    }

    #[test]
    fn a_policy_may_write_names_as_people_do() {
        let json = r#"{"serverUrl":"https://fern.müller.de/","sites":[{"kind":"osticket","url":"https://hilfe.müller.de/support/"}]}"#;
        let settings = Settings::of(&Stored::default(), &serde_json::from_str(json).expect("a policy"));
        assert_eq!((settings.server.as_str(), settings.server_is_managed), ("https://fern.xn--mller-kva.de", true));
        let site = &settings.sites[0].url;
        assert_eq!(site, "https://hilfe.xn--mller-kva.de/support/");
        assert_eq!(permission_pattern(site).as_deref(), Some("https://hilfe.xn--mller-kva.de/*"));
        let own = connection("Desk", "osticket", "https://hilfe.müller.de/support");
        assert_eq!(connection_of(&settings.sites[0], &[own]), Some("Desk"), "whichever way the server writes it");
    }

    #[test]
    fn patterns_leave_ports_out() {
        assert_eq!(match_pattern("https://desk.example.com:8443/support/").as_deref(), Some("https://desk.example.com/support/*"));
        assert_eq!(match_pattern(AUTOTASK).as_deref(), Some("https://*.autotask.net/*"));
        assert_eq!(permission_pattern("http://127.0.0.1:4711/support/").as_deref(), Some("http://127.0.0.1/*"));
        assert_eq!(match_pattern("nothing"), None);
    }

    fn connection(name: &str, system: &str, site: &str) -> DeviceConnection {
        DeviceConnection { name: name.into(), system: system.into(), site: Some(site.into()) }
    }

    #[test]
    fn the_connection_is_found_or_must_be_chosen() {
        let desk = site(SiteKind::Osticket, "https://desk.example.com/support/".into());
        let one = connection("Desk", "osticket", "https://desk.example.com/support");
        let other = connection("Other", "osticket", "https://other.example.com");
        let zone = connection("PSA", "autotask", "https://ww2.autotask.net");
        let check = |site: &SiteSettings, connections: &[DeviceConnection], expected: Option<&str>| {
            assert_eq!(connection_of(site, connections), expected);
        };
        check(&desk, &[one.clone(), other.clone(), zone.clone()], Some("Desk"));
        check(&desk, std::slice::from_ref(&other), None);
        check(&desk, &[one.clone(), one.clone()], None);
        let tracker = connection("RT", "request_tracker", "https://rt.example.com/rt/");
        check(&site(SiteKind::RequestTracker, "https://rt.example.com/rt/".into()), &[one.clone(), tracker.clone()], Some("RT"));
        check(&site(SiteKind::RequestTracker, "https://rt.example.com/".into()), &[one.clone(), tracker], None);
        check(&autotask(), &[other.clone(), zone.clone()], Some("PSA"));
        check(&autotask(), &[zone.clone(), zone], None);
        let chosen = SiteSettings { connection: "Other".into(), ..desk };
        check(&chosen, &[other], Some("Other"));
        check(&chosen, &[], Some("Other"));
    }

    #[test]
    fn a_policy_goes_first_and_nonsense_goes_out() {
        let stored = Stored { server: "https://own.example.com".into(), ..Stored::default() };
        let settings = Settings::of(&stored, &Managed::default());
        assert_eq!((settings.server.as_str(), settings.server_is_managed), ("https://own.example.com", false));
        assert_eq!(settings.sites, [autotask()]);

        let json = r#"{"serverUrl":"https://remote.example.com/","enrolmentToken":"T","sites":[{"kind":"osticket","url":"https://desk.example.com"},
            {"kind":"autotask","connection":"PSA"},{"kind":"osticket","url":"http://desk.example.com"},{"kind":"nonsense"},7]}"#;
        let managed: Managed = serde_json::from_str(json).expect("a policy");
        let settings = Settings::of(&stored, &managed);
        assert_eq!((settings.server.as_str(), settings.server_is_managed), ("https://remote.example.com", true));
        let urls: Vec<&str> = settings.sites.iter().map(|site| site.url.as_str()).collect();
        assert_eq!((urls, settings.sites_are_managed), (vec!["https://desk.example.com/", AUTOTASK], true));

        let odd: Managed = serde_json::from_str(r#"{"serverUrl":7,"sites":"x","enrolmentToken":{}}"#).expect("a policy");
        assert_eq!(odd, Managed::default());
        let nonsense = Managed { server_url: Some("nowhere at all".into()), ..Managed::default() };
        assert_eq!(Settings::of(&stored, &nonsense).server, "https://own.example.com");
    }
}
