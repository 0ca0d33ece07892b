//! How a simulated appliance is set up: who may call it, which of the known spellings it uses, who works there.
//!
//! Plain data with defaults. Where real appliances are known to differ, or where nobody knows, there is a choice here.

use std::fmt::Write as _;

/// Everything that can be chosen before an appliance starts. Much of it can be changed later through the control handle.
#[derive(Clone, Debug)]
pub struct Options {
    /// How callers of the XML and JSON APIs prove who they are.
    pub authentication: Authentication,
    /// OAuth client id of the one API account.
    pub client_id: String,
    /// Its secret; `rotate_secret` replaces it.
    pub client_secret: String,
    /// Legacy user name (16.1 and earlier).
    pub username: String,
    /// Legacy password.
    pub password: String,
    /// Serve without TLS. Only together with [`Authentication::UserAndPassword`] (beyondtrust.md B.1).
    pub plain_http: bool,
    /// What the API account may do.
    pub permissions: Permissions,
    /// Spelling of the XML namespaces.
    pub namespaces: NamespaceSpelling,
    /// Spelling of error documents.
    pub error_style: ErrorStyle,
    /// Spelling of `<expires>` in a session key.
    pub expires_format: ExpiresFormat,
    /// Root and permission spelling of `get_api_info`.
    pub api_info_style: ApiInfoStyle,
    /// Name of the attribute that dates an exit survey.
    pub survey_timestamp: SurveyTimestamp,
    /// Whether exit surveys can be asked for by lsid; appliances of 2012 to 2015 could not (beyondtrust.md D.7).
    pub surveys_by_lsid: bool,
    /// How reports lag behind the end of a session.
    pub report_lag: ReportLag,
    /// Limits per API account; `None` switches them off.
    pub rate_limits: Option<RateLimits>,
    /// Company (site) name: in the extension of client scripts, and in `get_api_info` up to 24.2. Letters, digits and `-`.
    pub company_name: String,
    /// Name of the product, which is also the name of the "system" in chats.
    pub product_name: String,
    /// The appliance's GUID in outbound events: 32 hex characters.
    pub appliance_id: String,
    /// Version told by `get_api_info`.
    pub api_version: String,
    /// Version of the product, told by `check_health`.
    pub product_version: String,
    /// Custom session fields configured on the appliance, besides the external key.
    pub custom_fields: Vec<CustomField>,
    /// Support teams with their issues.
    pub teams: Vec<Team>,
    /// Users who can support.
    pub representatives: Vec<Representative>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            authentication: Authentication::OAuth,
            client_id: "simulated-client".into(),
            client_secret: "simulated-secret".into(),
            username: "integration".into(),
            password: "simulated-password".into(),
            plain_http: false,
            permissions: Permissions::default(),
            namespaces: NamespaceSpelling::BeyondTrust,
            error_style: ErrorStyle::Plain,
            expires_format: ExpiresFormat::TsAttribute,
            api_info_style: ApiInfoStyle::default(),
            survey_timestamp: SurveyTimestamp::Timestamp,
            surveys_by_lsid: true,
            report_lag: ReportLag::default(),
            rate_limits: Some(RateLimits::default()),
            company_name: "example".into(),
            product_name: "Remote Support".into(),
            appliance_id: "9d2c0b7e5a1f4c3e8b6a7d5c4b3a2f10".into(),
            api_version: "1.24.1".into(),
            product_version: "25.3.2 (61034)".into(),
            custom_fields: vec![CustomField::new("asset_tag", "Asset Tag"), CustomField::new("cost_center", "Cost Center")],
            teams: vec![
                Team {
                    id: 3,
                    name: "Service Desk".into(),
                    members: vec![151, 152],
                    issues: vec![
                        Issue::new(10, "General Technical Issues", "general_tech"),
                        Issue::new(11, "E-mail and calendar", "email"),
                    ],
                },
                Team { id: 4, name: "Netzwerk & VPN".into(), members: vec![152], issues: vec![Issue::new(12, "VPN-Zugang", "vpn")] },
            ],
            representatives: vec![
                Representative::example(),
                Representative {
                    id: 152,
                    username: "kmori".into(),
                    display_name: "Kenji M.".into(),
                    private_display_name: "森 健二 (T1)".into(),
                    public_ip: "198.51.100.7:50122".into(),
                    ..Representative::example()
                },
            ],
        }
    }
}

impl Options {
    /// Whether `get_api_info` tells the company's name, as it did before 24.3 (changes-2026-11.md C2).
    pub(super) fn tells_company_name(&self) -> bool {
        let numbers: Vec<u32> = self.product_version.split([' ', '.']).map_while(|number| number.parse().ok()).collect();
        numbers[..] < [24, 3][..]
    }

    /// What makes these options impossible, in words; empty when nothing does.
    pub(super) fn faults(&self) -> String {
        let mut faults = String::new();
        if self.plain_http && self.authentication != Authentication::UserAndPassword {
            let _ = write!(faults, "OAuth always uses TLS (beyondtrust.md B.1). ");
        }
        if !is_hex_id(&self.appliance_id) {
            let _ = write!(faults, "appliance_id must be 32 hex characters. ");
        }
        let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !plain(&self.company_name) {
            let _ = write!(faults, "company_name must consist of letters, digits and '-'. ");
        }
        faults
    }
}

/// 32 hex characters: an lsid or an appliance id (beyondtrust.md B.6).
pub(super) fn is_hex_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// How API callers authenticate (beyondtrust.md C).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authentication {
    /// OAuth client credentials: 16.2.1 and later.
    OAuth,
    /// `username` and `password` parameters: 16.1 and earlier.
    UserAndPassword,
    /// Either: appliances around the cut-over.
    Both,
}

impl Authentication {
    pub(super) fn allows_oauth(self) -> bool {
        self != Self::UserAndPassword
    }

    pub(super) fn allows_password(self) -> bool {
        self != Self::OAuth
    }
}

/// What the API account may do (beyondtrust.md B.5).
#[derive(Clone, Copy, Debug)]
pub struct Permissions {
    /// `perm_command`.
    pub command: CommandPermission,
    /// `perm_reporting_support`.
    pub reporting_support: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { command: CommandPermission::FullAccess, reporting_support: true }
    }
}

/// Values of `perm_command`, weakest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum CommandPermission {
    /// No command at all.
    Deny,
    /// Commands that change nothing.
    ReadOnly,
    /// Every command.
    FullAccess,
}

impl CommandPermission {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::ReadOnly => "read_only",
            Self::FullAccess => "full_access",
        }
    }
}

/// The four spellings of the XML namespaces (beyondtrust.md B.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NamespaceSpelling {
    /// `http://www.bomgar.com/namespaces/API/…`: about 2018.
    Bomgar,
    /// `https://www.beyondtrust.com/namespaces/API/…`: the documents of 22.x to 25.x.
    BeyondTrust,
    /// Reports as seen live in 2024 (`http://www.beyondtrust.com/sra/…`), commands as documented.
    SraReports,
    /// `http://www.beyondtrust.com/sra/namespaces/API/…` for both.
    Sra,
}

impl NamespaceSpelling {
    /// Every spelling, for data-driven tests.
    pub const ALL: [Self; 4] = [Self::Bomgar, Self::BeyondTrust, Self::SraReports, Self::Sra];

    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Bomgar => "http://www.bomgar.com/namespaces/API/command",
            Self::BeyondTrust | Self::SraReports => "https://www.beyondtrust.com/namespaces/API/command",
            Self::Sra => "http://www.beyondtrust.com/sra/namespaces/API/command",
        }
    }

    pub(super) fn reporting(self) -> &'static str {
        match self {
            Self::Bomgar => "http://www.bomgar.com/namespaces/API/reporting",
            Self::BeyondTrust => "https://www.beyondtrust.com/namespaces/API/reporting",
            Self::SraReports | Self::Sra => "http://www.beyondtrust.com/sra/namespaces/API/reporting",
        }
    }
}

/// How an error document is spelt (beyondtrust.md B.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorStyle {
    /// `<error xmlns="…">text</error>`.
    Plain,
    /// The same with a further attribute and whitespace inside the tags.
    Decorated,
    /// `<error>` inside the normal root of the answer, where the answer has one.
    Nested,
}

/// How `<expires>` is spelt (beyondtrust.md B.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExpiresFormat {
    /// ISO 8601 text and a `ts` attribute.
    TsAttribute,
    /// ISO 8601 text and a `timestamp` attribute.
    TimestampAttribute,
    /// Unix seconds as text.
    UnixText,
    /// ISO 8601 text alone.
    IsoText,
}

/// How `get_api_info` is spelt (beyondtrust.md B.5: sources disagree).
#[derive(Clone, Copy, Debug)]
pub struct ApiInfoStyle {
    /// `get_api_info` or `api_information`.
    pub root: &'static str,
    /// How a permission is written.
    pub permissions: PermissionEncoding,
}

impl Default for ApiInfoStyle {
    fn default() -> Self {
        Self { root: "get_api_info", permissions: PermissionEncoding::NameAttribute }
    }
}

impl ApiInfoStyle {
    /// The root that third-party code expects, with permissions as child elements.
    pub const LEGACY: Self = Self { root: "api_information", permissions: PermissionEncoding::ChildElements };
}

/// How one permission is written in `get_api_info`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PermissionEncoding {
    /// `<permission name="perm_command">full_access</permission>`.
    NameAttribute,
    /// `<permission><name>perm_command</name><value>full_access</value></permission>`.
    ChildElements,
}

/// Name of the attribute that dates an exit survey (beyondtrust.md D.7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SurveyTimestamp {
    /// `timestamp`.
    Timestamp,
    /// `ts`.
    Ts,
}

/// How reports lag behind what happened (beyondtrust.md, fact 7). Counted in requests, so that no test has to wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportLag {
    /// What a lagging report looks like.
    pub shape: LagShape,
    /// So many report requests after a session's end still meet the lag.
    pub requests: u32,
    /// So many survey requests after a survey's submission still find nothing.
    pub survey_requests: u32,
}

/// What a lagging report looks like.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LagShape {
    /// The "No Support report information…" error.
    #[default]
    NoReport,
    /// The report is there, without `end_time`.
    NoEndTime,
}

/// Limits per API account over all API endpoints (beyondtrust.md J.1), each over a sliding window.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Requests in any one second.
    pub per_second: u32,
    /// Requests in any one hour; also told in `X-RateLimit-Limit`.
    pub per_hour: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { per_second: 20, per_hour: 15_000 }
    }
}

/// A custom session field that exists on the appliance.
#[derive(Clone, Debug)]
pub struct CustomField {
    /// As in `session.custom.<code_name>`.
    pub code_name: String,
    /// As shown to people.
    pub display_name: String,
}

impl CustomField {
    /// A field from its two names.
    pub fn new(code_name: &str, display_name: &str) -> Self {
        Self { code_name: code_name.into(), display_name: display_name.into() }
    }
}

/// A support team.
#[derive(Clone, Debug)]
pub struct Team {
    /// As in `queue_id=team:<id>`.
    pub id: u32,
    /// Shown to people.
    pub name: String,
    /// Ids of its representatives.
    pub members: Vec<u32>,
    /// Issues customers can choose which lead to this team.
    pub issues: Vec<Issue>,
}

/// An issue a customer can choose.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Numeric id.
    pub id: u32,
    /// Shown to people.
    pub title: String,
    /// As in `codeName=` and `queue_id=issue:`.
    pub code_name: String,
}

impl Issue {
    /// An issue from its id and names.
    pub fn new(id: u32, title: &str, code_name: &str) -> Self {
        Self { id, title: title.into(), code_name: code_name.into() }
    }
}

/// A user of the appliance who can support customers.
#[derive(Clone, Debug)]
pub struct Representative {
    /// Stable user id.
    pub id: u32,
    /// Login name.
    pub username: String,
    /// Public display name.
    pub display_name: String,
    /// Name shown to colleagues.
    pub private_display_name: String,
    /// Address with port, IPv6 in brackets, or `Unknown`.
    pub public_ip: String,
    /// Address, or `Unknown`.
    pub private_ip: String,
    /// Device name; left out of reports when empty.
    pub hostname: String,
    /// Operating system, or `Unknown`.
    pub operating_system: String,
    /// Whether the representative console is open.
    pub logged_in: bool,
    /// Invited into one session only.
    pub invited: bool,
}

impl Representative {
    /// Jane Doe, user 151, logged in, with an IPv6 address.
    pub fn example() -> Self {
        Self {
            id: 151,
            username: "jdoe".into(),
            display_name: "Jane D.".into(),
            private_display_name: "Jane Doe (T2)".into(),
            public_ip: "[2001:db8::1]:56722".into(),
            private_ip: "Unknown".into(),
            hostname: String::new(),
            operating_system: "Unknown".into(),
            logged_in: true,
            invited: false,
        }
    }
}
