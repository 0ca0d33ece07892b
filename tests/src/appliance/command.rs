//! The Command API, XML (beyondtrust.md B.3 to B.5).
//!
//! Every action names its parameters; whatever else is sent is refused.

use super::answer::{Refusal, Xml};
use super::clock::iso;
use super::options::{CommandPermission, ExpiresFormat, Options, PermissionEncoding, is_hex_id};
use super::parameters::Parameters;
use super::script::Step;
use super::session::Queue;
use super::state::{SessionKey, State, random_digits, random_hex};

/// How long a key lives without `ttl`; the real default is not known.
const DEFAULT_KEY_SECONDS: i64 = 86_400;
/// Keys remembered; the oldest are forgotten first.
const KEY_LIMIT: usize = 10_000;
const LONGEST_KEY_SECONDS: i64 = 365 * 86_400;

/// Action names the real appliance knows and this one does not imitate (beyondtrust.md B.3).
const NOT_SIMULATED: [&str; 10] = [
    "get_appliances",
    "leave_session",
    "send_chat_message",
    "create_virtual_customer",
    "set_rep_status",
    "logout_rep",
    "get_connected_client_list",
    "get_connected_clients",
    "set_failover_role",
    "import_jump_shortcut",
];

/// The root an action's answer normally has, where an error could be nested in it.
pub(super) fn normal_root(options: &Options, action: &str) -> Option<&'static str> {
    match action {
        "get_api_info" => Some(options.api_info_style.root),
        "check_health" => Some("health"),
        "get_logged_in_reps" => Some("logged_in_reps"),
        "get_support_teams" => Some("support_teams"),
        "generate_session_key" => Some("session_key"),
        "get_session_attributes" => Some("custom_attributes"),
        _ => None,
    }
}

/// One call: the state it acts on, where the appliance lives, and the appliance's time.
pub(super) struct Call<'a> {
    pub state: &'a mut State,
    pub base_url: &'a str,
    pub now: i64,
}

impl Call<'_> {
    /// Answers one action.
    pub(super) fn answer(&mut self, parameters: &Parameters) -> Result<String, Refusal> {
        let action = parameters.required("action")?.to_owned();
        match action.as_str() {
            "get_api_info" => self.get_api_info(parameters),
            "check_health" => self.check_health(parameters),
            "get_logged_in_reps" => self.get_logged_in_reps(parameters),
            "get_support_teams" => self.get_support_teams(parameters),
            "generate_session_key" => self.generate_session_key(parameters),
            "get_session_attributes" => self.get_session_attributes(parameters),
            "set_session_attributes" => self.set_session_attributes(parameters),
            "join_session" => self.join_session(parameters),
            "transfer_session" => self.transfer_session(parameters),
            "terminate_session" => self.terminate_session(parameters),
            known if NOT_SIMULATED.contains(&known) => {
                Err(Refusal::new(format!("The action '{known}' is not available on this simulated appliance.")))
            }
            unknown => Err(Refusal::new(format!("Unknown action '{unknown}'."))),
        }
    }

    fn document(&self, root: &str) -> Xml {
        Xml::document(root, self.state.options.namespaces.command())
    }

    fn success(&self, sentence: &str) -> String {
        let namespace = self.state.options.namespaces.command();
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<success xmlns=\"{namespace}\">{sentence}</success>\n")
    }

    fn require(&self, needed: CommandPermission) -> Result<(), Refusal> {
        if self.state.options.permissions.command >= needed {
            return Ok(());
        }
        Err(Refusal::new("You do not have permission to perform this action."))
    }

    fn get_api_info(&self, parameters: &Parameters) -> Result<String, Refusal> {
        let options = &self.state.options;
        if options.authentication.allows_oauth() {
            // No permission was needed up to 16.1 (beyondtrust.md B.3).
            self.require(CommandPermission::ReadOnly)?;
        }
        parameters.allow_only(&["action"], false)?;
        let style = options.api_info_style;
        let mut xml = self.document(style.root);
        xml.element("api_version", &[], &options.api_version);
        if options.tells_company_name() {
            xml.element("company_name", &[], &options.company_name);
        }
        xml.element("timestamp", &[], &self.now.to_string());
        xml.open("permissions", &[]);
        let reporting = if options.permissions.reporting_support { "1" } else { "0" };
        for (name, value) in [
            ("perm_command", options.permissions.command.as_str()),
            ("perm_backup", "0"),
            ("perm_configuration", "0"),
            ("perm_configuration_vault_account", "0"),
            ("perm_ecm", "0"),
            ("perm_real_time_state", "0"),
            ("perm_reporting_archive", "0"),
            ("perm_reporting_license", "0"),
            ("perm_reporting_presentation", "0"),
            ("perm_reporting_support", reporting),
        ] {
            match style.permissions {
                PermissionEncoding::NameAttribute => {
                    xml.element("permission", &[("name", name)], value);
                }
                PermissionEncoding::ChildElements => {
                    xml.open("permission", &[]);
                    xml.element("name", &[], name);
                    xml.element("value", &[], value);
                    xml.close("permission");
                }
            }
        }
        xml.close("permissions");
        Ok(xml.finish(style.root))
    }

    fn check_health(&self, parameters: &Parameters) -> Result<String, Refusal> {
        self.require(CommandPermission::ReadOnly)?;
        parameters.allow_only(&["action"], false)?;
        let options = &self.state.options;
        let host = self.base_url.split("://").last().unwrap_or_default();
        let mut xml = self.document("health");
        xml.element("appliance", &[("id", &options.appliance_id)], host);
        xml.element("version", &[], &options.product_version);
        xml.element("success", &[], if self.state.healthy { "1" } else { "0" });
        if !self.state.healthy {
            xml.element("error_message", &[], "The appliance is not healthy.");
        }
        xml.element("failover_role", &[], "none");
        Ok(xml.finish("health"))
    }

    fn get_logged_in_reps(&self, parameters: &Parameters) -> Result<String, Refusal> {
        self.require(CommandPermission::ReadOnly)?;
        parameters.allow_only(&["action"], false)?;
        let mut xml = self.document("logged_in_reps");
        let all = self.state.options.representatives.iter();
        for representative in all.filter(|representative| representative.logged_in) {
            let active = self.state.sessions.all().iter().filter(|session| {
                let mut members = session.representatives.iter();
                session.ended_at.is_none() && members.any(|m| m.person.id == representative.id)
            });
            let since = self.now - 9_000;
            let link = format!(
                "<a href=\"{}/api/start_session?id={}&name={}\">{}</a>",
                self.base_url,
                representative.id,
                super::client_script::percent_encoded(&representative.display_name),
                representative.display_name,
            );
            xml.open("rep", &[("id", &representative.id.to_string())]);
            xml.element("display_name", &[], &representative.display_name);
            xml.element("public_display_name", &[], &representative.display_name);
            xml.element("private_display_name", &[], &representative.private_display_name);
            xml.element("type", &[], if representative.invited { "Invited" } else { "Normal" });
            xml.element("direct_link", &[], &link);
            xml.element("logged_in_since", &[("ts", &since.to_string())], &iso(since));
            xml.element("presentation_count", &[], "0");
            xml.element("support_session_count", &[], &active.count().to_string());
            xml.element("showing_on_rep_list", &[], "1");
            xml.close("rep");
        }
        Ok(xml.finish("logged_in_reps"))
    }

    fn get_support_teams(&self, parameters: &Parameters) -> Result<String, Refusal> {
        self.require(CommandPermission::ReadOnly)?;
        parameters.allow_only(&["action", "showmembers"], false)?;
        parameters.one_of("showmembers", &["0", "1"])?;
        let show_members = parameters.get("showmembers") == Some("1");
        let options = &self.state.options;
        let mut xml = self.document("support_teams");
        for team in &options.teams {
            xml.open("support_team", &[("id", &team.id.to_string())]);
            xml.element("name", &[], &team.name);
            if show_members {
                xml.open("members", &[]);
                let users = options.representatives.iter();
                for user in users.filter(|user| team.members.contains(&user.id)) {
                    xml.open("representative", &[("id", &user.id.to_string())]);
                    xml.element("display_name", &[], &user.display_name);
                    xml.close("representative");
                }
                xml.close("members");
            }
            xml.open("issues", &[]);
            for issue in &team.issues {
                xml.open("issue", &[("id", &issue.id.to_string())]);
                xml.element("title", &[], &issue.title);
                xml.element("code_name", &[], &issue.code_name);
                xml.close("issue");
            }
            xml.close("issues");
            xml.close("support_team");
        }
        Ok(xml.finish("support_teams"))
    }

    fn generate_session_key(&mut self, parameters: &Parameters) -> Result<String, Refusal> {
        self.require(CommandPermission::FullAccess)?;
        let mut allowed = vec!["action", "type", "queue_id", "ttl", "session.priority", "session.skills", "url_hostname"];
        let legacy = self.state.options.authentication.allows_password();
        if legacy {
            // Its name up to about 13.x (beyondtrust.md B.4).
            allowed.push("external_key");
        }
        parameters.allow_only(&allowed, true)?;
        parameters.required("type")?;
        parameters.one_of("type", &["support"])?;
        let queue = find_queue(&self.state.options, parameters.required("queue_id")?)?;
        let ttl: i64 = parameters.number("ttl")?.unwrap_or(DEFAULT_KEY_SECONDS);
        parameters.one_of("session.priority", &["1", "2", "3"])?;
        let hostname = parameters.get("url_hostname");
        let mut custom_fields = parameters.custom_fields(&self.state.options)?;
        if let Some(external_key) = parameters.get("external_key") {
            custom_fields.push(("external_key".into(), external_key.into()));
            super::parameters::check_custom_fields(&custom_fields, &self.state.options)?;
        }
        let made = self.make_key(queue, ttl, hostname, custom_fields)?;
        let mut xml = self.document("session_key");
        xml.element("short_key", &[], &made.short_key);
        xml.element("key_url", &[], &made.key_url);
        xml.element("mail_subject", &[], &made.mail_subject);
        xml.element("mail_body", &[], &made.mail_body);
        let (unix, iso) = (made.expires_at.to_string(), iso(made.expires_at));
        match self.state.options.expires_format {
            ExpiresFormat::TsAttribute => xml.element("expires", &[("ts", &unix)], &iso),
            ExpiresFormat::TimestampAttribute => {
                xml.element("expires", &[("timestamp", &unix)], &iso);
            }
            ExpiresFormat::UnixText => xml.element("expires", &[], &unix),
            ExpiresFormat::IsoText => xml.element("expires", &[], &iso),
        }
        Ok(xml.finish("session_key"))
    }

    /// Makes a session key, for either Command API.
    pub(super) fn make_key(
        &mut self,
        queue: Queue,
        ttl: i64,
        url_hostname: Option<&str>,
        custom_fields: Vec<(String, String)>,
    ) -> Result<MadeKey, Refusal> {
        if !(1..=LONGEST_KEY_SECONDS).contains(&ttl) {
            return Err(Refusal::new("The parameter 'ttl' is out of range."));
        }
        let base = match url_hostname {
            None => self.base_url.to_owned(),
            Some(hostname) if is_hostname(hostname) => format!("https://{hostname}"),
            Some(_) => return Err(Refusal::new("The URL hostname is not valid.")),
        };
        let mut short_key = random_digits();
        while self.state.keys.iter().any(|known| known.short_key == short_key) {
            short_key = random_digits();
        }
        let key = SessionKey { short_key, long_key: random_hex(), custom_fields, queue, expires_at: self.now + ttl, used: false };
        let key_url = format!("{base}/?ak={}", key.long_key);
        let made = MadeKey {
            short_key: key.short_key.clone(),
            mail_subject: "Remote support invitation".into(),
            mail_body: format!("Your representative would like to start a support session with you.\nOpen this link: {key_url}"),
            key_url,
            expires_at: key.expires_at,
        };
        if self.state.keys.len() >= KEY_LIMIT {
            self.state.keys.remove(0);
        }
        self.state.keys.push(key);
        Ok(made)
    }

    fn get_session_attributes(&self, parameters: &Parameters) -> Result<String, Refusal> {
        self.require(CommandPermission::ReadOnly)?;
        parameters.allow_only(&["action", "lsid"], false)?;
        let lsid = valid_lsid(parameters)?;
        let session = self.state.sessions.get(lsid);
        let session = session.filter(|session| session.ended_at.is_none());
        let session = session.ok_or_else(not_active)?;
        let mut xml = self.document("custom_attributes");
        let names = [("display_name", "External Key"), ("code_name", "external_key")];
        xml.element("custom_attribute", &names, &session.external_key);
        for (code_name, value) in &session.custom_attributes {
            let mut fields = self.state.options.custom_fields.iter();
            let field = fields.find(|field| field.code_name == *code_name);
            let display_name = field.map_or(code_name.as_str(), |field| &field.display_name);
            let names = [("display_name", display_name), ("code_name", code_name)];
            xml.element("custom_attribute", &names, value);
        }
        Ok(xml.finish("custom_attributes"))
    }

    fn set_session_attributes(&mut self, parameters: &Parameters) -> Result<String, Refusal> {
        self.require(CommandPermission::FullAccess)?;
        parameters.allow_only(&["action", "lsid"], true)?;
        let lsid = valid_lsid(parameters)?;
        let fields = parameters.custom_fields(&self.state.options)?;
        if fields.is_empty() {
            return Err(Refusal::new("No session attribute was given."));
        }
        let session = self.state.sessions.active_mut(lsid);
        session.ok_or_else(not_active)?.set_attributes(&fields);
        Ok(self.success("Session attributes were set"))
    }

    fn join_session(&mut self, parameters: &Parameters) -> Result<String, Refusal> {
        self.require(CommandPermission::FullAccess)?;
        parameters.allow_only(&["action", "lsid", "rep_id", "rep_username"], false)?;
        let lsid = valid_lsid(parameters)?;
        let id: Option<u32> = parameters.number("rep_id")?;
        let username = parameters.get("rep_username");
        if id.is_some() == username.is_some() {
            return Err(Refusal::new("Exactly one of rep_id, rep_username is required."));
        }
        let mut users = self.state.options.representatives.iter();
        let user = users.find(|user| Some(user.id) == id || Some(user.username.as_str()) == username);
        let user = user.filter(|user| user.logged_in).cloned();
        let user = user.ok_or_else(|| Refusal::new("The specified representative could not be found."))?;
        self.state.sessions.active_mut(lsid).ok_or_else(not_active)?;
        self.apply(lsid, Step::RepresentativeJoins(user))?;
        Ok(self.success("Representative successfully added"))
    }

    fn transfer_session(&mut self, parameters: &Parameters) -> Result<String, Refusal> {
        self.require(CommandPermission::FullAccess)?;
        parameters.allow_only(&["action", "lsid", "queue_id"], false)?;
        let lsid = valid_lsid(parameters)?;
        let queue_id = parameters.required("queue_id")?;
        // `general` and `issue:` are not in its list (beyondtrust.md B.3).
        if queue_id == "general" || queue_id.starts_with("issue:") {
            return Err(no_such_queue());
        }
        let queue = find_queue(&self.state.options, queue_id)?;
        self.state.sessions.active_mut(lsid).ok_or_else(not_active)?;
        self.state.transfer(lsid, queue, self.now);
        Ok(self.success("Successfully transferred"))
    }

    fn terminate_session(&mut self, parameters: &Parameters) -> Result<String, Refusal> {
        self.require(CommandPermission::FullAccess)?;
        parameters.allow_only(&["action", "lsid"], false)?;
        let lsid = valid_lsid(parameters)?;
        self.state.sessions.active_mut(lsid).ok_or_else(not_active)?;
        self.apply(lsid, Step::Ends)?;
        Ok(self.success("Successfully terminated"))
    }

    fn apply(&mut self, lsid: &str, step: Step) -> Result<(), Refusal> {
        let applied = self.state.apply(lsid, step, self.now);
        applied.map_err(|error| Refusal::new(format!("{error:#}")))
    }
}

/// What either Command API tells about a new key.
pub(super) struct MadeKey {
    pub short_key: String,
    pub key_url: String,
    pub mail_subject: String,
    pub mail_body: String,
    pub expires_at: i64,
}

/// A `queue_id` (beyondtrust.md B.4).
pub(super) fn find_queue(options: &Options, queue_id: &str) -> Result<Queue, Refusal> {
    if queue_id == "general" {
        return Ok(Queue::General);
    }
    let (kind, value) = queue_id.split_once(':').ok_or_else(no_such_queue)?;
    let found = match kind {
        "rep" => {
            let mut users = options.representatives.iter();
            let user = users.find(|user| user.id.to_string() == value);
            user.map(|user| Queue::Representative(user.id))
        }
        "rep_username" => {
            let users = options.representatives.iter();
            let mut users = users.filter(|user| user.username == value);
            // An error unless exactly one user has it.
            match (users.next(), users.next()) {
                (Some(user), None) => Some(Queue::Representative(user.id)),
                _ => None,
            }
        }
        "team" => {
            let mut teams = options.teams.iter();
            let team = teams.find(|team| team.id.to_string() == value);
            team.map(|team| Queue::Team(team.id))
        }
        "issue" => {
            let mut issues = options.teams.iter().flat_map(|team| &team.issues);
            let issue = issues.find(|issue| issue.code_name == value);
            issue.map(|issue| Queue::Issue(issue.code_name.clone()))
        }
        _ => None,
    };
    found.ok_or_else(no_such_queue)
}

pub(super) fn is_hostname(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    !text.is_empty() && text.len() <= 253 && text.chars().all(legal)
}

fn no_such_queue() -> Refusal {
    Refusal::new("The specified queue could not be found.")
}

fn not_active() -> Refusal {
    Refusal::new("The specified session could not be found or is not active.")
}

fn valid_lsid(parameters: &Parameters) -> Result<&str, Refusal> {
    let lsid = parameters.required("lsid")?;
    if is_hex_id(lsid) { Ok(lsid) } else { Err(Refusal::new(format!("'{lsid}' is not a valid lsid."))) }
}
