//! Settings files as administrators write them, with every section there is.

use deskbridge_core::settings::{Faults, SessionKeyQueue, Settings};
use deskbridge_help_desks::zendesk::{NoteVisibility, ZendeskSection};
use deskbridge_remote_support::beyondtrust::ApplianceSection;

use crate::connections::sections;

const GOOD: &str = r#"
[server]
public_url = "https://remote.example.com"

[[connection]]
name = "Zendesk production"

[connection.appliance]
host = "support.example.com"
client_id = "id"
client_secret = "top-secret"
event_token = "also-secret"
event_sources = ["203.0.113.0/24", "2001:db8::1"]

[connection.panel]
issues = ["general_tech=General Technical Issues"]
jumpoints = ["HQ-Net"]
allow_rdp = true

[connection.zendesk]
url = "https://example.zendesk.com"
username = "api@example.com"
token = "zendesk-secret"
app_id = 1001
installation_id = 360001234567
"#;

fn parse(text: &str) -> Result<Settings, Faults> {
    Settings::parse(sections(), "test.toml", text, std::iter::empty())
}

/// The faults of `GOOD` with `from` replaced by `to`, as printed.
fn faults(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    parse(&GOOD.replace(from, to)).map_or_else(|faults| faults.to_string(), |_| String::new())
}

#[test]
fn the_contracts_file_is_read_with_its_defaults() {
    let settings = parse(GOOD).unwrap();
    let connection = &settings.connection[0];
    assert_eq!(settings.server.listen, "0.0.0.0:8180");
    assert_eq!(settings.server.admin_listen, "127.0.0.1:53231");
    let appliance: ApplianceSection = connection.section().unwrap();
    assert_eq!(appliance.id, "default");
    assert_eq!(appliance.retry_attempt_limit, 10);
    assert_eq!(appliance.outbound_events.len(), 4);
    assert_eq!(appliance.source_networks().len(), 2);
    assert_eq!(connection.panel.session_key_queue, SessionKeyQueue::General);
    let zendesk: ZendeskSection = connection.section().unwrap();
    assert_eq!((zendesk.origin().as_str(), zendesk.authority().as_str()), ("https://example.zendesk.com", "example.zendesk.com"));
    assert_eq!(zendesk.note_visibility, NoteVisibility::Internal);
}

#[test]
fn a_fault_names_key_value_and_what_is_expected() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        let said = faults(from, to);
        for part in expected {
            assert!(said.contains(part), "{from} → {to}: {part} not in\n{said}");
        }
        assert!(!said.contains("secret\""), "{said}");
    };
    check(
        "host = \"support.example.com\"",
        "host = \"https://support.example.com\"",
        &["connection[0] “Zendesk production”.appliance.host", "“https://support.example.com”", "without https://"],
    );
    check("host = \"support.example.com\"", "", &["appliance.host", "required"]);
    check("host = \"support.example.com\"", "host = 5", &["appliance.host", "= 5", "a text in quotes"]);
    check("allow_rdp = true", "allow_rdp = \"yes\"", &["panel.allow_rdp", "“yes”", "true or false"]);
    check("allow_rdp = true", "allow_rpd = true", &["panel.allow_rpd", "one of the keys known here", "allow_rdp"]);
    check("client_id = \"id\"", "", &["appliance.client_id"]);
    check("client_id = \"id\"", "client_id = \"id\"\nuse_plain_http = true", &["use_plain_http", "OAuth always uses TLS"]);
    check("client_id = \"id\"", "client_id = \"id\"\nusername = \"u\"\npassword = \"p\"", &["not both"]);
    check("app_id = 1001", "app_id = 0", &["zendesk.app_id", "= 0", "at least 1"]);
    check("url = \"https://example.zendesk.com\"", "url = \"http://example.zendesk.com\"", &["zendesk.url", "only for a loopback host"]);
    check(
        "token = \"zendesk-secret\"",
        "token = \"env:DESKBRIDGE_TEST_NOT_SET\"",
        &["zendesk.token", "DESKBRIDGE_TEST_NOT_SET is not set"],
    );
    check("token = \"zendesk-secret\"", "token = 12345", &["zendesk.token", "(hidden)"]);
    check("general_tech=General", "general tech=General", &["panel.issues", "code=Name"]);
    check("event_sources = [\"203.0.113.0/24\"", "event_sources = [\"203.0.113.0/99\"", &["event_sources", "203.0.113.0/99"]);
    check("client_id = \"id\"", "client_id = \"id\"\npolling_events = [\"customer_survey\"]", &["polling_events", "session_end"]);
    check("client_id = \"id\"", "client_id = \"id\"\noutbound_events = [\"session_start\"]", &["outbound_events", "session_end"]);
    check("[connection.zendesk]", "[connection.zendesq]", &["zendesq", "one of the keys known here"]);
    check("https://remote.example.com", "remote.example.com", &["server.public_url"]);
}

/// Wherever a host is entered: what DNS knows is taken, in any script; what no host can be called is told there.
#[test]
fn a_host_is_a_name_that_dns_knows() {
    let places = [
        ("https://remote.example.com", "https://", "server.public_url"),
        ("support.example.com", "", "appliance.host"),
        ("https://example.zendesk.com", "https://", "zendesk.url"),
    ];
    for (typed, scheme, key) in places {
        for good in ["hilfe.müller.de", "HILFE.MÜLLER.DE:8443", "hilfe.xn--mller-kva.de", "помощь.рф", "10.20.0.15", "[::1]", "a_b.intern."]
        {
            parse(&GOOD.replace(typed, &format!("{scheme}{good}"))).unwrap_or_else(|faults| panic!("{key} {good}: {faults}"));
        }
        for bad in ["hilfe..de", "hilfe..müller.de", "xn--.de", "xn--", "😀.de", "hilfe.müller😀.de", "hilfe müller.de", "a b.de", "אa.de"]
        {
            let said = faults(typed, &format!("{scheme}{bad}"));
            assert!(said.contains(key) && said.contains("a host name of letters, digits and hyphens"), "{key} {bad}: {said}");
        }
    }
    // What the URL standard passes over or decodes.
    for good in [
        r"https://hilfe.example.com\n",
        r" \thttps://hilfe.example.com/  ",
        "https://hilfe.m%C3%BCller.de",
        "HTTPS:hilfe.example.com",
        r"https://hilfe.\nexample.com",
    ] {
        for (typed, _, key) in places.into_iter().filter(|(_, scheme, _)| !scheme.is_empty()) {
            parse(&GOOD.replace(typed, good)).unwrap_or_else(|faults| panic!("{key} {good}: {faults}"));
        }
        let osticket = format!("[[connection]]\nname = \"a\"\n[connection.osticket]\nurl = \"{good}\"");
        let said = parse(&osticket).map_or_else(|faults| faults.to_string(), |_| String::new());
        assert!(!said.contains("osticket.url"), "{good}: {said}");
        let set = [("DESKBRIDGE_PUBLIC_URL".to_owned(), good.replace(r"\n", "\n").replace(r"\t", "\t"))];
        Settings::parse(sections(), "test.toml", GOOD, set.into_iter()).unwrap_or_else(|faults| panic!("{good}: {faults}"));
    }
    for line in include_str!("../../../../shared/src/host_names.txt").lines().filter(|line| !line.starts_with('#')) {
        let (name, used) = line.split_once(' ').unwrap();
        for (typed, scheme, key) in places {
            match parse(&GOOD.replace(typed, &format!("{scheme}{name}"))) {
                Ok(settings) if key == "server.public_url" => assert_eq!(settings.server.public_url, format!("https://{}", used.trim())),
                Ok(_) => assert_ne!(used.trim(), "-", "{key} {name}"),
                Err(faults) => assert_eq!(used.trim(), "-", "{key} {name}: {faults}"),
            }
        }
    }
    let settings = parse(&GOOD.replace("https://remote.example.com", "https://Fern.Müller.de/")).unwrap();
    assert_eq!(settings.server.public_url, "https://fern.xn--mller-kva.de");
}

#[test]
fn all_faults_are_told_at_once() {
    let text =
        GOOD.replace("host = \"support.example.com\"", "host = \"a b\"").replace("api@example.com", "nobody").replace("general_tech=", "");
    let said = parse(&text).unwrap_err();
    assert_eq!(said.list().len(), 3, "{said}");
    // Faults of shape do not hide faults of meaning, not even beside them.
    let text = text
        .replace("allow_rdp = true", "allow_rdp = 1\nnonsense = 1\nsession_key_queue = \"nowhere\"")
        .replace("remote.example.com", "remote.example.com/path")
        .replace("event_sources = [\"203.0.113.0/24\"", "outbound_events = [\"session_begin\"]\nevent_sources = [5")
        .replace("token = \"zendesk-secret\"\napp_id = 1001", "app_id = \"many\"\nnote_visibility = \"secret\"");
    let said = parse(&text).unwrap_err();
    assert_eq!(said.list().len(), 12, "{said}");
    for part in [
        "allow_rdp",
        "nonsense",
        "outbound_events[0]",
        "event_sources[0] = 5",
        "token: expected what belongs to username",
        "a whole number",
        "`team:ID` or `issue:CODE`",
        "public_url",
        "note_visibility",
        "“a b”",
        "“nobody”",
        "code=Name",
    ] {
        assert!(said.to_string().contains(part), "{part} not in\n{said}");
    }
}

#[test]
fn a_login_in_the_wrong_place_is_not_repeated() {
    for (from, to) in [
        ("https://example.zendesk.com", "https://api:pa55word@example.zendesk.com"),
        ("https://remote.example.com", "https://pa55word@remote.example.com"),
        ("host = \"support.example.com\"", "host = \"api:pa55word@support.example.com\""),
        ("api@example.com", "api@example.com/token:pa55word"),
    ] {
        let said = faults(from, to);
        assert!(!said.is_empty() && !said.contains("pa55word"), "{said}");
    }
}

#[test]
fn times_are_told_in_a_zone_of_iana_or_in_utc() {
    let reports = |keys: &str| parse(&format!("{GOOD}\n[connection.reports]\n{keys}"));
    let check = |keys: &str, zone: &str, is_out_of_date: bool| {
        let section = reports(keys).unwrap().connection.remove(0).reports;
        assert_eq!((section.time_zone().unwrap().name().as_str(), section.out_of_date().is_some()), (zone, is_out_of_date), "{keys}");
    };
    check("", "UTC", false);
    check("timezone = \"Europe/Berlin\"", "Europe/Berlin", false);
    check("utc_offset_minutes = 60", "+01:00", true);
    // The release before wrote 0 into every connection it stored or exported.
    check("utc_offset_minutes = 0", "UTC", false);
    let exported = toml::to_string(&reports("utc_offset_minutes = 0").unwrap().connection[0].reports).unwrap();
    assert!(!exported.contains("utc_offset") && !exported.contains("timezone"), "{exported}");

    let faults = |keys: &str| reports(keys).unwrap_err().to_string();
    let said = faults("timezone = \"Europe/Berln\"");
    assert!(
        said.contains("reports.timezone = “Europe/Berln”: expected the IANA name") && said.contains("did you mean Europe/Berlin?"),
        "{said}"
    );
    for minutes in [60, 0] {
        let said = faults(&format!("timezone = \"Europe/Berlin\"\nutc_offset_minutes = {minutes}"));
        assert!(said.contains(&format!("reports.utc_offset_minutes = “{minutes}”: expected only timezone")), "{said}");
    }
    let said = faults("timezone = 60");
    assert!(said.contains("reports.timezone = 60: expected a text in quotes"), "{said}");
    assert!(faults("utc_offset_minutes = 900").contains("at most 840"));
}

#[test]
fn two_connections_may_not_share_a_name() {
    let second = GOOD.split("[[connection]]").nth(1).unwrap();
    let said = parse(&format!("{GOOD}\n[[connection]]{second}")).unwrap_err().to_string();
    assert!(said.contains("a name no other connection has"), "{said}");
}

/// Each would void the other's values at every look.
#[test]
fn two_connections_of_one_account_may_not_fill_the_same_field() {
    let second = GOOD.split("[[connection]]").nth(1).unwrap().replacen("name = \"", "name = \"Second ", 1);
    let both = |field: &str, other: &str, second: &str| {
        let section = |field: &str| format!("\n[connection.help_center]\nlink_field = {field}\n");
        parse(&format!("{GOOD}{}\n[[connection]]{second}{}", section(field), section(other))).map(drop).map_err(|faults| faults.to_string())
    };
    let said = both("7", "7", &second).unwrap_err();
    assert!(said.contains("help_center.link_field") && said.contains("no other connection"), "{said}");
    assert_eq!(both("7", "8", &second), Ok(()));
    assert_eq!(both("7", "7", &second.replace("example.zendesk.com", "other.zendesk.com")), Ok(()));
}

#[test]
fn broken_toml_names_the_line_and_quotes_nothing() {
    let said = parse("[server]\npublic_url = \"x\"\n[connection.zendesk\ntoken = \"zendesk-secret\"").unwrap_err().to_string();
    assert!(said.starts_with("test.toml: line 3"), "{said}");
    assert!(!said.contains("zendesk-secret"), "{said}");
}

/// Browsers and Zendesk compare origins in this form.
#[test]
fn the_public_address_is_written_as_browsers_write_it() {
    let check = |given: &str, expected: &str| {
        let settings = parse(&GOOD.replace("https://remote.example.com", given)).unwrap();
        assert_eq!(settings.server.public_origin(), expected);
    };
    check("https://München.Example.com/", "https://xn--mnchen-3ya.example.com");
    check("HTTPS://remote.example.com:443", "https://remote.example.com");
    check("http://localhost:8180", "http://localhost:8180");
}

#[test]
fn the_environment_overrides_the_server_section() {
    let with = |environment: &[(&str, &str)]| {
        let environment: Vec<_> = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::parse(sections(), "t", GOOD, environment.into_iter())
    };
    let settings = with(&[("DESKBRIDGE_LISTEN", "127.0.0.1:9"), ("DESKBRIDGE_SESSION_MAX_HOURS", "3"), ("OTHER", "x")]).unwrap();
    assert_eq!((settings.server.listen.as_str(), settings.server.session_max_hours), ("127.0.0.1:9", 3));
    let settings = with(&[("DESKBRIDGE_TRUSTED_PROXIES", "192.0.2.10, 2001:db8::/32")]).unwrap();
    assert_eq!(settings.server.proxies(), ["192.0.2.10/32", "2001:db8::/32"].map(|network| network.parse().unwrap()));
    let said = with(&[("DESKBRIDGE_TRUSTED_PROXIES", "192.0.2.10,proxy.example.com")]).unwrap_err().to_string();
    assert!(said.contains("trusted_proxies") && said.contains("proxy.example.com") && said.contains("203.0.113.0/24"), "{said}");
}

#[test]
fn no_secret_is_printed_by_debug() {
    let said = format!("{:?}", parse(GOOD).unwrap());
    assert!(!said.contains("secret\""), "{said}");
    assert!(!said.contains("top-secret") && !said.contains("zendesk-secret"), "{said}");
}
