//! BeyondTrust Remote Support as an engine: the appliance's API and its client scripts behind the trait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::{Finding, SetupLink};
use deskbridge_core::ids::{ConnectionId, EngineAccount};
use deskbridge_core::session_report::{ExitSurvey, SessionReport};
use deskbridge_core::settings::{ConnectionSettings, EventPolicy, Secret, Section, SectionKind};
use deskbridge_http_client::cached::{Cached, FailureLife, Freshness, Lifetime};
use deskbridge_shared::api::{JumpMethod, JumpRequest};
use deskbridge_shared::client_script::{self, Appliance, CustomField, StartBy, StartSession};
use ipnet::IpNet;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::section::ApplianceSection;
use super::transport::Transport;
use super::{ApplianceClient, ApplianceSettings, Credentials, Error, Health, Limits, SessionKey, SessionKeyRequest, SurveyQuery};
use crate::{
    ArgumentFault, ChatRequest, ClientScripts, EngineAbilities, EngineKind, Error as EngineError, EventDoor, EventRefusal, EventSource,
    Jump, KeyRequest, Launch, LaunchError, RemoteSupport, SessionTag, SurveyBy,
};

/// Stands in an address for a session's external key: the one macro of custom links that is known for sure (beyondtrust.md G).
const EXTERNAL_KEY: &str = "%SESSION.CUSTOM.EXTERNAL_KEY%";
/// A clock this far off makes tokens and sweeps go wrong.
const CLOCK_TOLERANCE_SECONDS: i64 = 30;
/// Length of the window in which a session's surveys are looked for by its start, where the appliance knows no other way.
const SURVEY_WINDOW_SECONDS: u32 = 10;
/// The report of an ended session does not change but for links that expire later: several events of a session cost one question.
const REPORT_CACHE: Duration = Duration::from_secs(30);
/// Reports can have megabytes; so many are remembered for an account.
const MOST_REPORTS: u64 = 64;

/// How long an answer about logged-in representatives is believed: customers look, and the appliance counts the calls.
const REPRESENTATIVE_CACHE: Duration = Duration::from_secs(15);

/// How long a customer waits to be told whether a representative is there.
const REPRESENTATIVE_TIME: Duration = Duration::from_secs(3);

/// The beginning of a name that the appliance takes. Its limit is in characters by one of its documents, in bytes by another
/// (beyondtrust.md F.1); this keeps both.
fn within_name(name: &str) -> Option<&str> {
    let name = name[..name.floor_char_boundary(client_script::CUSTOMER_NAME_CHARACTERS)].trim();
    (!name.is_empty()).then_some(name)
}

/// What all connections of one API account share.
pub(super) struct Account {
    transport: Arc<Transport>,
    /// Made when it is first used: an empty one takes some 60 kB.
    reports: LazyLock<Cache<String, Arc<SessionReport>>>,
    has_representative: Cached<bool, String>,
}

/// Makes engines, and remembers which accounts there are: connections of one account share its token, its limit and its reports.
#[derive(Default)]
pub struct BeyondTrustKind {
    accounts: Mutex<HashMap<EngineAccount, Vec<std::sync::Weak<Account>>>>,
}

impl EngineKind for BeyondTrustKind {
    fn section(&self) -> SectionKind {
        SectionKind::of::<ApplianceSection>()
    }

    fn account(&self, settings: &ConnectionSettings) -> Option<EngineAccount> {
        settings.section::<ApplianceSection>().map(|section| section.account())
    }

    fn former_host(&self, settings: &ConnectionSettings) -> Option<String> {
        settings.section::<ApplianceSection>().and_then(|section| section.former_host())
    }

    fn build(&self, settings: &ConnectionSettings) -> Option<Result<Arc<dyn RemoteSupport>, String>> {
        settings.systems.get(ApplianceSection::NAME)?;
        let Some(section) = settings.section::<ApplianceSection>() else {
            return Some(Err("appliance: the stored settings are of another version; apply them again".into()));
        };
        Some(self.engine(section).map(|engine| Arc::new(engine) as Arc<dyn RemoteSupport>))
    }
}

fn resolved(key: &str, secret: &Secret) -> Result<SecretString, String> {
    secret.resolve().map_err(|error| format!("appliance.{key}: {error}"))
}

fn credentials(section: &ApplianceSection) -> Result<Credentials, String> {
    match (&section.client_id, &section.client_secret, &section.username, &section.password) {
        (Some(client_id), Some(secret), _, _) => {
            Ok(Credentials::OAuth { client_id: client_id.clone(), client_secret: resolved("client_secret", secret)? })
        }
        (_, _, Some(username), Some(password)) => {
            Ok(Credentials::Legacy { username: username.clone(), password: resolved("password", password)? })
        }
        _ => Err("appliance: client_id and client_secret, or username and password".into()),
    }
}

impl BeyondTrustKind {
    fn engine(&self, section: ApplianceSection) -> Result<BeyondTrust, String> {
        // The settings keep it as it was typed.
        let section = ApplianceSection { host: section.ascii_host(), ..section };
        let settings = ApplianceSettings {
            locale: section.locale.clone(),
            allow_invalid_certificates: section.allow_invalid_certificates,
            use_plain_http: section.use_plain_http,
            credentials_in_body: section.client_in_body,
            limits: Limits { per_second: section.calls_per_second, ..Limits::default() },
            ..ApplianceSettings::new(section.host.clone(), credentials(&section)?)
        };
        let key = section.account();
        let account = self.account(&key, settings).map_err(|error| format!("appliance: {error}"))?;
        Ok(BeyondTrust {
            key,
            client: ApplianceClient { inner: account.transport.clone() },
            account,
            policy: section.policy(),
            event_token: section.event_token.as_ref().map(|token| resolved("event_token", token)).transpose()?,
            event_networks: section.source_networks(),
            section,
        })
    }

    /// The account as other connections use it already, or a new one. Of two connections that name the account's secret differently,
    /// one is wrong: they have a token each, but one limit.
    fn account(&self, key: &EngineAccount, settings: ApplianceSettings) -> Result<Arc<Account>, Error> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the map grows, not for each of ten thousand connections.
        if accounts.len() == accounts.capacity() {
            accounts.retain(|_, users| users.iter().any(|account| account.strong_count() > 0));
        }
        let users = accounts.entry(key.clone()).or_default();
        users.retain(|account| account.strong_count() > 0);
        let living: Vec<Arc<Account>> = users.iter().filter_map(std::sync::Weak::upgrade).collect();
        let limiter = living.first().map(|account| account.transport.limiter.clone());
        if let Some(limiter) = &limiter {
            // Of connections that name different numbers of calls, the last one counts.
            limiter.change_windows(settings.limits.windows());
        }
        if let Some(same) = living.iter().find(|account| account.transport.has_settings(&settings)) {
            // A connection is built anew when its settings are saved, or were found to be good.
            same.transport.refusals.forget();
            return Ok(same.clone());
        }
        let base = settings.base_url()?;
        let account = Arc::new(Account {
            transport: Arc::new(Transport::new(settings, base, limiter)?),
            reports: LazyLock::new(|| Cache::builder().max_capacity(MOST_REPORTS).time_to_live(REPORT_CACHE).build()),
            has_representative: Cached::new(
                Lifetime::only(REPRESENTATIVE_CACHE),
                FailureLife { least: REPRESENTATIVE_CACHE, longest: REPRESENTATIVE_CACHE },
            ),
        });
        users.push(Arc::downgrade(&account));
        Ok(account)
    }
}

/// One appliance by one API account, as one connection uses it.
pub struct BeyondTrust {
    key: EngineAccount,
    client: ApplianceClient,
    account: Arc<Account>,
    section: ApplianceSection,
    policy: EventPolicy,
    event_token: Option<SecretString>,
    event_networks: Vec<IpNet>,
}

impl BeyondTrust {
    /// The appliance's address for browsers: client scripts and chats. Plain HTTP only where the settings say so.
    fn browser_host(&self) -> String {
        if self.section.use_plain_http { format!("http://{}", self.section.host) } else { self.section.host.clone() }
    }

    /// The appliance as browsers reach it, by that host.
    fn for_browsers<'a>(&self, host: &'a str) -> Appliance<'a> {
        Appliance { host, spelling: self.client.inner.spelling() }
    }

    /// Calls `make` with the custom fields that go along besides the external key.
    fn with_fields<T>(&self, tag: SessionTag<'_>, make: impl FnOnce(&[CustomField<'_>]) -> T) -> T {
        let id = tag.connection.to_string();
        match self.section.connection_field.as_deref() {
            Some(code_name) => make(&[(code_name, &id)]),
            None => make(&[]),
        }
    }

    fn launch_url(&self, request: &JumpRequest, tag: SessionTag<'_>) -> Result<String, ArgumentFault> {
        self.with_fields(tag, |fields| {
            client_script::client_script_url(
                self.for_browsers(&self.browser_host()),
                request,
                tag.ticket,
                self.section.jump_action.into(),
                fields,
            )
        })
    }

    async fn surveys(&self, by: SurveyBy, query: SurveyQuery<'_>) -> Result<Vec<ExitSurvey>, Error> {
        match by {
            SurveyBy::Customer => self.client.customer_surveys(query).await,
            SurveyBy::Representative => self.client.representative_surveys(query).await,
        }
    }
}

impl EventDoor for BeyondTrust {
    fn appliance_id(&self) -> &str {
        &self.section.id
    }

    fn admit(&self, peer: IpAddr, token: Option<&str>) -> Result<(), EventRefusal> {
        if !self.event_networks.is_empty() && !self.event_networks.iter().any(|network| network.contains(&peer.to_canonical())) {
            return Err(EventRefusal::Source);
        }
        match (&self.event_token, token) {
            (None, _) => Ok(()),
            (Some(expected), Some(given)) if bool::from(expected.expose_secret().as_bytes().ct_eq(given.as_bytes())) => Ok(()),
            (Some(_), _) => Err(EventRefusal::Token),
        }
    }
}

#[async_trait]
impl RemoteSupport for BeyondTrust {
    fn name(&self) -> &'static str {
        ApplianceSection::NAME
    }

    fn title(&self) -> &'static str {
        "the appliance"
    }

    fn account(&self) -> &EngineAccount {
        &self.key
    }

    fn way(&self) -> usize {
        Arc::as_ptr(&self.account).addr()
    }

    fn abilities(&self) -> EngineAbilities {
        EngineAbilities {
            jump_methods: &JumpMethod::JUMPS,
            session_keys: true,
            machines: false,
            recordings: false,
            chats: true,
            surveys: true,
            can_be_swept: true,
        }
    }

    fn policy(&self) -> &EventPolicy {
        &self.policy
    }

    fn event_source(&self) -> EventSource<'_> {
        EventSource::Door(self)
    }

    fn report_page_host(&self) -> Option<&str> {
        Some(&self.section.host)
    }

    async fn create_session_key(&self, request: &KeyRequest<'_>) -> Result<SessionKey, EngineError> {
        let connection = self.section.connection_field.iter().map(|field| (field.clone(), request.tag.connection.to_string()));
        let request = SessionKeyRequest {
            queue: request.queue.to_owned(),
            ttl_seconds: request.ttl_seconds,
            external_key: Some(request.tag.ticket.to_owned()),
            custom_fields: connection.collect(),
            url_hostname: None,
        };
        Ok(self.client.generate_session_key(&request).await?)
    }

    /// A client script. It holds no credential: the representative console that opens it has its own.
    async fn launch(&self, jump: &Jump<'_>) -> Result<Launch, LaunchError> {
        let url = self.launch_url(jump.request, jump.tag).map_err(LaunchError::Argument)?;
        Ok(Launch { url, expires_at: None, link: None, agent: None })
    }

    fn chat_url(&self, chat: &ChatRequest<'_>) -> Option<Result<String, ArgumentFault>> {
        Some(self.with_fields(chat.tag, |custom_fields| {
            let start = StartSession {
                by: StartBy::Issue(chat.issue),
                customer_name: chat.customer_name.and_then(within_name),
                customer_company: chat.customer_company.and_then(within_name),
                customer_details: None,
                external_key: Some(chat.tag.ticket),
                custom_fields,
                click_to_chat: true,
            };
            client_script::start_session_url(self.for_browsers(&self.browser_host()), &start)
        }))
    }

    async fn has_representative(&self) -> Option<bool> {
        // Within the question, so that a failure is remembered: what hangs must not hold up one customer after the other.
        let ask = || async {
            let answer = tokio::time::timeout(REPRESENTATIVE_TIME, self.client.has_logged_in_representative()).await;
            answer.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())
        };
        match self.account.has_representative.get(&Freshness::any(), ask).await {
            Ok(answer) => Some(*answer),
            Err(error) => {
                tracing::debug!(error, "the appliance does not tell who is logged in");
                None
            }
        }
    }

    async fn session(&self, lsid: &str) -> Result<Option<Arc<SessionReport>>, EngineError> {
        let lsid = lsid.to_ascii_lowercase();
        if let Some(report) = self.account.reports.get(&lsid).await {
            return Ok(Some(report));
        }
        let Some(report) = self.client.support_session(&lsid).await?.map(Arc::new) else { return Ok(None) };
        if report.is_ended() {
            self.account.reports.insert(lsid, report.clone()).await;
        }
        Ok(Some(report))
    }

    async fn sessions_ended_since(&self, since: i64, seconds: u32) -> Result<Vec<SessionReport>, EngineError> {
        Ok(self.client.support_sessions_ended_since(since, seconds).await?)
    }

    async fn ids_of_sessions_ended_since(&self, since: i64, seconds: u32) -> Result<Vec<String>, EngineError> {
        Ok(self.client.ids_of_sessions_ended_since(since, seconds).await?)
    }

    async fn sessions_started_since(&self, since: i64) -> Result<Vec<SessionReport>, EngineError> {
        Ok(self.client.support_sessions_started_since(since).await?)
    }

    async fn surveys_of_session(&self, by: SurveyBy, lsid: &str, started_at: Option<i64>) -> Result<Vec<ExitSurvey>, EngineError> {
        let found = match (self.surveys(by, SurveyQuery::Lsid(lsid)).await, started_at) {
            // Old appliances know surveys by the time their session began only (beyondtrust.md D.7).
            (Err(Error::Refused { .. }), Some(started_at)) => {
                let start = started_at - i64::from(SURVEY_WINDOW_SECONDS / 2);
                self.surveys(by, SurveyQuery::Window { start, seconds: SURVEY_WINDOW_SECONDS }).await?
            }
            (other, _) => other?,
        };
        Ok(found.into_iter().filter(|survey| survey.lsid.eq_ignore_ascii_case(lsid)).collect())
    }

    async fn surveys_since(&self, by: SurveyBy, since: i64, seconds: u32) -> Result<Vec<ExitSurvey>, EngineError> {
        Ok(self.surveys(by, SurveyQuery::Window { start: since, seconds }).await?)
    }

    async fn clock(&self) -> Result<Option<i64>, EngineError> {
        Ok(self.client.api_info().await?.timestamp)
    }

    async fn set_ticket(&self, lsid: &str, seen: Option<&str>, ticket: &str) -> Result<(), EngineError> {
        let now = self.client.get_session_attributes(lsid).await?;
        if now.get("external_key").is_some_and(|key| seen != Some(key.trim())) {
            return Ok(());
        }
        match self.client.set_session_attributes(lsid, &[("external_key", ticket)]).await {
            Err(Error::Refused { message }) => {
                tracing::warn!(lsid, message, "the session took no external key; it has probably ended");
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn connection_in(&self, report: &SessionReport) -> Option<ConnectionId> {
        let field = self.section.connection_field.as_deref()?;
        let attribute = report.custom_attributes.iter().find(|attribute| attribute.code_name == field)?;
        attribute.value.trim().parse().ok()
    }

    /// `get_api_info` proves credentials, clock and permissions in one call (beyondtrust.md B.5).
    async fn check(&self, now: i64) -> Vec<Finding> {
        let info = match self.client.api_info().await {
            Ok(info) => info,
            Err(error @ Error::Denied { .. }) => return vec![Finding::bad("appliance login", error.to_string())],
            Err(error) => return vec![Finding::bad("appliance", error.to_string())],
        };
        let company = info.company_name.as_deref().unwrap_or("the appliance");
        let mut findings = vec![Finding::good("appliance login", format!("API {} of {company}", info.api_version))];
        if let Some(theirs) = info.timestamp {
            let apart = now - theirs;
            findings.push(if apart.abs() <= CLOCK_TOLERANCE_SECONDS {
                Finding::good("clock", format!("{} s apart", apart.abs()))
            } else {
                let direction = if apart > 0 { "ahead of" } else { "behind" };
                Finding::bad("clock", format!("this machine is {} s {direction} the appliance; set both clocks by NTP", apart.abs()))
            });
        }
        let permission = |what, allowed: Option<bool>, missing: &str| match allowed {
            Some(true) => Finding::good(what, "given"),
            Some(false) => Finding::bad(what, missing),
            None => Finding::note(what, "the appliance does not tell; old versions do not"),
        };
        findings.push(permission(
            "permission for session keys",
            info.may_command(),
            "give the API account Full Access to the Command API (Management > API Configuration)",
        ));
        let missing = "give the API account access to Support Session Reports and Recordings (Management > API Configuration)";
        findings.push(permission("permission for session reports", info.may_report_sessions(), missing));
        findings.push(match self.client.check_health().await {
            Ok(Health { version: Some(version), .. }) => of_version(&version),
            _ => Finding::note("product version", "the appliance does not tell"),
        });
        findings
    }

    fn client_scripts(&self) -> Option<ClientScripts> {
        let base = self.for_browsers(&self.browser_host()).client_scripts().ok()?;
        Some(ClientScripts { base, jump: self.section.jump_action.script_action() })
    }

    fn setup_links(&self, public_url: &str, ticket_address: Option<&str>) -> Vec<SetupLink> {
        let custom_link = ticket_address.map(|address| SetupLink {
            title: "Custom link, on the appliance: Rep Console > Custom Links".into(),
            fields: vec![("Name", "Open Ticket".into()), ("URL", address.replace("{ticket}", EXTERNAL_KEY))],
            remark: None,
        });
        let event = SetupLink {
            title: "Outbound event, on the appliance: Management > Outbound Events > HTTP Recipients".into(),
            fields: vec![("Name", "Integration".into()), ("URL", self.section.event_url(public_url))],
            remark: None,
        };
        custom_link.into_iter().chain([event]).collect()
    }
}

/// The first version without CVE-2026-1731, which lets anybody run commands on the appliance and is being exploited (changes-2026-11.md C10).
const FIRST_WITHOUT_THE_HOLE: [u32; 3] = [25, 3, 2];

/// What is known of a product version. A note, not a failure: Deskbridge works with it, and the vendor's patch, which hosted appliances have,
/// need not change the version.
fn of_version(version: &str) -> Finding {
    match version_numbers(version) {
        Some(numbers) if numbers[..] < FIRST_WITHOUT_THE_HOLE[..] => Finding::note(
            "product version",
            format!(
                "{version} has a known hole that is being exploited: anybody can run commands on the appliance without signing in \
                 (CVE-2026-1731). Install 25.3.2 or later on the appliance, or make sure that the vendor's patch for it is installed"
            ),
        ),
        Some(_) => Finding::good("product version", version),
        None => Finding::note("product version", format!("“{version}” is no version that is understood here")),
    }
}

/// The numbers of `25.3.1 (58213)` before the build.
fn version_numbers(version: &str) -> Option<Vec<u32>> {
    let release = version.split([' ', '(']).next()?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    release.split('.').map(number).collect::<Option<Vec<u32>>>().filter(|numbers| numbers.len() > 1)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use deskbridge_core::finding::Mark;
    use serde_json::{Value, json};

    use super::super::testing::{Double, Reply};
    use super::*;

    const INFO: &str = "<get_api_info><api_version>1.24.1</api_version><permissions><permission name=\"perm_command\">full_access</permission>\
                        <permission name=\"perm_reporting_support\">1</permission></permissions></get_api_info>";
    const SEEN: &str = r#"{"title": "VPN"}"#;

    fn of_section(section: Value) -> BeyondTrust {
        BeyondTrustKind::default().engine(serde_json::from_value(section).unwrap()).unwrap()
    }

    fn engine(double: &Double) -> BeyondTrust {
        of_section(json!({"host": double.host(), "username": "integration", "password": "p", "use_plain_http": true}))
    }

    fn attributes(external_key: &str) -> Reply {
        Reply::ok(format!(
            "<custom_attributes><custom_attribute display_name=\"External Key\" code_name=\"external_key\">{external_key}\
             </custom_attribute></custom_attributes>"
        ))
    }

    fn sets(double: &Double) -> usize {
        double.calls().iter().filter(|call| call.body.contains("action=set_session_attributes")).count()
    }

    /// A representative may have chosen a ticket: what cannot be read is not written over.
    #[tokio::test]
    async fn a_key_that_cannot_be_read_is_not_overwritten() {
        for (reply, is_passing) in [
            (Reply::new(StatusCode::SERVICE_UNAVAILABLE, "later"), true),
            (Reply::new(StatusCode::TOO_MANY_REQUESTS, "slow down").with("retry-after", "17"), true),
            (Reply::ok("<error>The session is not active.</error>"), false),
            (Reply::ok("<error>Permission denied</error>"), false),
            (Reply::ok("<html><body>Portal"), false),
            (Reply::ok("<something_else/>"), false),
        ] {
            let double = Double::start().await;
            double.always(Reply::ok("<success>Session attributes were set</success>"));
            double.next(reply);
            let error = engine(&double).set_ticket("e9e9", Some(SEEN), "88121").await.expect_err("what was read is unknown");
            assert_eq!(error.is_passing(), is_passing, "{error}");
            assert_eq!(sets(&double), 0, "{error}");
        }
    }

    #[tokio::test]
    async fn a_key_is_set_where_it_is_still_the_one_seen() {
        for (now, expected) in [(SEEN, 1), (" {\"title\": \"VPN\"}\n", 1), ("4711", 0), ("", 0)] {
            let double = Double::start().await;
            double.always(Reply::ok("<success>Session attributes were set</success>"));
            double.next(attributes(now));
            engine(&double).set_ticket("e9e9", Some(SEEN), "88121").await.unwrap();
            assert_eq!(sets(&double), expected, "{now}");
        }
    }

    #[tokio::test]
    async fn a_customers_name_is_cut_to_what_the_appliance_takes() {
        let tag = SessionTag { ticket: "88121", connection: "00000000-0000-4000-8000-000000000001".parse().unwrap() };
        let engine = of_section(json!({"host": "support.example.com", "client_id": "client", "client_secret": "s3cret"}));
        let named = |name: &str| {
            let chat = ChatRequest { issue: "vpn", customer_name: Some(name), customer_company: Some("  "), tag };
            let url = url::Url::parse(&engine.chat_url(&chat).unwrap().unwrap()).unwrap();
            url.query_pairs().find(|(key, _)| key.starts_with("customer.")).map(|(key, value)| (key.into_owned(), value.into_owned()))
        };
        let name = |value: String| Some(("customer.name".to_owned(), value));
        assert_eq!(named("Zoë & Söhne"), name("Zoë & Söhne".into()));
        assert_eq!(named(&"x".repeat(101)), name("x".repeat(100)));
        assert_eq!(named(&format!("{}ü", "x".repeat(99))), name("x".repeat(99)));
        assert_eq!(named(&"語".repeat(40)), name("語".repeat(33)));
        assert_eq!(named(" "), None);
    }

    /// Every address of an appliance by one rule: those of the password era (16.1 and earlier) end in `.ns`, later ones do not.
    #[tokio::test]
    async fn all_addresses_of_an_appliance_are_spelt_by_its_era() {
        let request = JumpRequest::new(JumpMethod::JumpClient, "LAPTOP-0042");
        let tag = SessionTag { ticket: "88121", connection: "00000000-0000-4000-8000-000000000001".parse().unwrap() };
        let chat = ChatRequest { issue: "general_tech", customer_name: None, customer_company: None, tag };
        let addresses = |engine: &BeyondTrust| {
            let beginning = |url: String| url.split('?').next().unwrap_or_default().to_owned();
            let script = engine.client_scripts().unwrap().base;
            [beginning(engine.launch_url(&request, tag).unwrap()), beginning(engine.chat_url(&chat).unwrap().unwrap()), script]
        };
        let new = of_section(json!({"host": "support.example.com", "client_id": "client", "client_secret": "s3cret"}));
        let paths = ["client_script", "start_session", "client_script"];
        assert_eq!(addresses(&new), paths.map(|path| format!("https://support.example.com/api/{path}")));
        let umlaut = of_section(json!({"host": "Hilfe.Müller.de:8443", "client_id": "client", "client_secret": "s3cret"}));
        assert_eq!(addresses(&umlaut), paths.map(|path| format!("https://hilfe.xn--mller-kva.de:8443/api/{path}")));
        assert_eq!(
            (umlaut.account().host.as_str(), umlaut.report_page_host()),
            ("hilfe.xn--mller-kva.de:8443", Some("hilfe.xn--mller-kva.de:8443"))
        );
        let double = Double::start().await;
        let old = engine(&double);
        let host = &old.section.host;
        assert_eq!(addresses(&old), paths.map(|path| format!("http://{host}/api/{path}.ns")));
        double.always(Reply::ok(INFO));
        old.clock().await.unwrap();
        double.next(Reply::ok("<session_list/>"));
        old.sessions_started_since(7).await.unwrap();
        let called: Vec<_> = double.calls().into_iter().map(|call| call.path).collect();
        assert_eq!(called, ["/api/command.ns", "/api/reporting.ns"]);
    }

    #[tokio::test]
    async fn an_appliance_with_the_exploited_hole_is_told() {
        let check = async |version: &str| {
            let double = Double::start().await;
            double.next(Reply::ok(INFO));
            double.always(Reply::ok(format!("<health><version>{version}</version><success>1</success></health>")));
            let findings = engine(&double).check(0).await;
            assert!(findings.iter().all(|finding| finding.mark != Mark::Bad), "{findings:?}");
            let found = findings.into_iter().find(|finding| finding.what == "product version");
            found.map(|finding| (finding.mark, finding.message))
        };
        for version in ["25.3.1 (12345)", "24.1.4 (…)", "23.2.1 (58213)", "25.3", "25.1.9", "16.1.3"] {
            let (mark, message) = check(version).await.expect(version);
            assert_eq!(mark, Mark::Note, "{message}");
            for part in [version, "CVE-2026-1731", "25.3.2"] {
                assert!(message.contains(part), "{part} is not in {message}");
            }
        }
        for version in ["25.3.2", "25.3.2 (61034)", "25.10.1", "26.1.1 (7)", "100.1.1"] {
            assert_eq!(check(version).await, Some((Mark::Good, version.to_owned())));
        }
        for unknown in ["garbage", "v25.3.1", "25", "25.x.1", "25.3.1-rc", "2025-03-01", "99999999999999999999.1"] {
            let (mark, message) = check(unknown).await.expect(unknown);
            assert!(mark == Mark::Note && message.contains(unknown) && !message.contains("CVE"), "{message}");
        }
    }

    #[tokio::test]
    async fn an_appliance_that_does_not_tell_its_version_passes_the_check() {
        for reply in [Reply::ok("<error>Unknown action</error>"), Reply::ok("<health><success>1</success></health>")] {
            let double = Double::start().await;
            double.next(Reply::ok(INFO));
            double.always(reply);
            let findings = engine(&double).check(0).await;
            let found = findings.iter().find(|finding| finding.what == "product version").unwrap();
            assert!(found.mark == Mark::Note && !found.message.contains("CVE"), "{found:?}");
        }
    }
}
