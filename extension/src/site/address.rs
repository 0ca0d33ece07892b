//! Page addresses taken apart by hand: the `url` crate would double the wasm (autotask-extension.md e.4). Reads what browsers write
//! (`document.URL`, already normalised), refuses the rest. Must not know any site.

use deskbridge_shared::percent;

/// Longest address looked at, in bytes: a workspace of a few hundred tickets lists all their ids.
const LONGEST: usize = 16_384;

/// The parts of an `http` or `https` address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    is_secure: bool,
    host: &'a str,
    port: &'a str,
    /// From the first `/` on, without query and fragment; as it was written.
    pub path: &'a str,
    query: &'a str,
}

impl<'a> Address<'a> {
    /// Takes an address apart. `None`: another scheme, a user name in it, or nothing a browser would call an address.
    pub fn parse(address: &'a str) -> Option<Self> {
        if address.len() > LONGEST {
            return None;
        }
        let (scheme, rest) = address.split_once("://")?;
        let is_secure = scheme.eq_ignore_ascii_case("https");
        if !is_secure && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let rest = rest.split('#').next()?;
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority_end = before_query.find('/').unwrap_or(before_query.len());
        let (authority, path) = before_query.split_at(authority_end);
        let (host, port) = split_port(authority)?;
        let default_port = if is_secure { "443" } else { "80" };
        let port = if port == default_port { "" } else { port };
        Some(Self { is_secure, host, port, path: if path.is_empty() { "/" } else { path }, query })
    }

    /// The rest of this page's path under a site's address, whose host may begin with `*.`. `None`: not a page of that site.
    ///
    /// Unencrypted sites are allowed on loopback only: anybody on the way could name any ticket.
    pub fn under(&self, site: &Address<'_>) -> Option<&'a str> {
        if self.is_secure != site.is_secure || self.port != site.port || !(self.is_secure || is_loopback(self.host)) {
            return None;
        }
        let same_host = match site.host.strip_prefix("*.") {
            Some(parent) => is_below(self.host, parent),
            None => self.host.eq_ignore_ascii_case(site.host),
        };
        let base = site.path.strip_suffix('/').unwrap_or(site.path);
        if same_host { self.path.strip_prefix(base)?.strip_prefix('/') } else { None }
    }

    /// What the query says under a name, each different value once; pairs that cannot be decoded say nothing.
    pub fn values(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        values(self.query, is_wanted)
    }
}

/// What a query says under a name: see [`Address::values`].
pub fn values(query: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| percent::decode(&text.replace('+', " "));
        if let (Some(name), Some(value)) = (decode(name), decode(value))
            && is_wanted(&name)
            && !found.contains(&value)
        {
            found.push(value);
        }
    }
    found
}

fn split_port(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = match authority.strip_prefix('[').and_then(|inside| inside.find(']')) {
        Some(end) => (&authority[..end + 2], authority[end + 2..].strip_prefix(':').unwrap_or(&authority[end + 2..])),
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let host_is_plain =
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*' | b'[' | b']' | b':'));
    let port_is_plain = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    (!host.is_empty() && host_is_plain && port_is_plain).then_some((host, port))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "[::1]"
}

/// Whether `host` is a name below `parent`: at least one label more.
fn is_below(host: &str, parent: &str) -> bool {
    let Some(start) = host.len().checked_sub(parent.len()) else { return false };
    start > 1 && host.is_char_boundary(start) && host[start..].eq_ignore_ascii_case(parent) && host[..start].ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn under<'a>(page: &'a str, site: &str) -> Option<&'a str> {
        Address::parse(page)?.under(&Address::parse(site)?)
    }

    #[test]
    fn a_page_is_under_its_site_alone() {
        let autotask = "https://*.autotask.net/";
        assert_eq!(under("https://ww19.autotask.net/Mvc/x.mvc?a=1#b", autotask), Some("Mvc/x.mvc"));
        assert_eq!(under("https://WW19.AUTOTASK.NET:443/x", autotask), Some("x"));
        for foreign in [
            "https://autotask.net/x",
            "https://.autotask.net/x",
            "https://evilautotask.net/x",
            "https://ww19.autotask.net.example.com/x",
            "https://example.com/ww19.autotask.net/x",
            "https://ww19.autotask.net@example.com/x",
            "https://user@ww19.autotask.net/x",
            "https://ww19.autotask.net\\.example.com/x",
            "https://ww19.autotask.net:8443/x",
            "http://ww19.autotask.net/x",
            "ftp://ww19.autotask.net/x",
            "about:blank",
            "",
        ] {
            assert_eq!(under(foreign, autotask), None, "{foreign}");
        }
        for site in ["https://desk.example.com/support/", "https://desk.example.com/support"] {
            assert_eq!(under("https://desk.example.com/support/scp/tickets.php", site), Some("scp/tickets.php"));
            assert_eq!(under("https://desk.example.com/supporters/scp/tickets.php", site), None);
            assert_eq!(under("https://desk.example.com/scp/tickets.php", site), None);
        }
        assert_eq!(under("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/"), Some("a"));
        assert_eq!(under("http://[::1]:8080/a", "http://[::1]:8080"), Some("a"));
        assert_eq!(under("http://desk.example.com/a", "http://desk.example.com/"), None, "readable on the way");
    }

    #[test]
    fn a_query_is_read_like_a_form() {
        let values = |address: &str, name: &str| Address::parse(address).expect("an address").values(|known| known == name);
        assert_eq!(values("https://a/?ids%5B0%5D=5&x", "ids[0]"), ["5"]);
        assert_eq!(values("https://a/?q=a+b%20c&q=%zz#?q=d", "q"), ["a b c"]);
        assert_eq!(values("https://a/?id=1&id=1&id=2", "id"), ["1", "2"]);
        assert_eq!(values("https://a", "id"), Vec::<String>::new());
    }
}
