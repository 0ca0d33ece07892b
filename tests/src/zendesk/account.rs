//! What the account holds: people, tickets, conversations, files, the app's installation.
//!
//! Also how each thing looks in the API. Must not know of HTTP.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::Options;
use super::help_center::HelpCenter;
use super::keys::AppKey;
use super::limits::Limiter;
use super::ticket_fields::TicketField;
use super::{html, placeholders};

/// A body is cut, silently, after so many bytes (zendesk.md d.3).
pub const BODY_LIMIT: usize = 64 * 1024;
/// A ticket takes no more comments than this (zendesk.md d.3).
pub const COMMENT_LIMIT: usize = 5000;
/// An upload token not used within this time is void (zendesk.md d.7).
pub const UPLOAD_LIFE: Duration = Duration::minutes(60);
/// The ticket field that names the machine to jump to, in the demo and in the tests.
pub const TARGET_FIELD: u64 = 27642;

/// What a user may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A customer.
    #[default]
    EndUser,
    /// Works on tickets.
    Agent,
    /// May do everything.
    Admin,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::EndUser => "end-user",
            Role::Agent => "agent",
            Role::Admin => "admin",
        }
    }
}

/// Which tickets an agent may see (`ticket_restriction`); without one, all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketRestriction {
    /// Tickets of his organisations.
    Organization,
    /// Tickets of his groups.
    Groups,
    /// Tickets assigned to him.
    Assigned,
    /// Tickets he requested.
    Requested,
}

impl TicketRestriction {
    fn name(self) -> &'static str {
        match self {
            TicketRestriction::Organization => "organization",
            TicketRestriction::Groups => "groups",
            TicketRestriction::Assigned => "assigned",
            TicketRestriction::Requested => "requested",
        }
    }
}

/// Which tickets a custom role reaches (`ticket_access`); its agents have no `ticket_restriction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketAccess {
    /// Every ticket.
    All,
    /// Tickets of their groups, of groups that are not private, and of none.
    GroupsAndPublicGroups,
    /// Tickets of their groups.
    Groups,
    /// Tickets of their organisations.
    Organization,
    /// Tickets assigned to them.
    Assigned,
}

impl TicketAccess {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::GroupsAndPublicGroups => "within-groups-and-public-groups",
            Self::Groups => "within-groups",
            Self::Organization => "within-organization",
            Self::Assigned => "assigned-only",
        }
    }
}

/// A person of the account.
#[derive(Clone, Debug)]
pub struct User {
    /// Given by the account when 0.
    pub id: u64,
    /// Full name.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// Role.
    pub role: Role,
    /// For example `en-US`.
    pub locale: String,
    /// Restriction of an agent.
    pub ticket_restriction: Option<TicketRestriction>,
    /// Custom role of an agent, by id.
    pub custom_role_id: Option<u64>,
    /// A light agent sees tickets and writes internal notes only.
    pub light_agent: bool,
    /// A suspended user cannot sign in.
    pub suspended: bool,
    /// Groups he works in; the first is the default one.
    pub group_ids: Vec<u64>,
    /// Organisations he belongs to; the first is the default one.
    pub organization_ids: Vec<u64>,
    /// Id in another system.
    pub external_id: Option<String>,
    /// A second e-mail address they have not confirmed: `GET /api/v2/requests/{id}` answers 403 (zendesk.md e.2).
    pub unverified_secondary_email: bool,
}

impl Default for User {
    fn default() -> Self {
        Self {
            id: 0,
            name: "Robin Example".to_owned(),
            email: String::new(),
            role: Role::EndUser,
            locale: "en-US".to_owned(),
            ticket_restriction: None,
            custom_role_id: None,
            light_agent: false,
            suspended: false,
            group_ids: Vec::new(),
            organization_ids: Vec::new(),
            external_id: None,
            unverified_secondary_email: false,
        }
    }
}

impl User {
    /// Agent or administrator.
    pub fn is_agent(&self) -> bool {
        self.role != Role::EndUser
    }

    pub(super) fn json(&self, url: &str) -> Value {
        json!({
            "id": self.id,
            "url": format!("{url}/api/v2/users/{}.json", self.id),
            "name": self.name,
            "email": self.email,
            "role": self.role.name(),
            // 1 is the light agent's role type.
            "role_type": self.light_agent.then_some(1),
            "locale": self.locale,
            "locale_id": if self.locale.starts_with("de") { 8 } else { 1 },
            "time_zone": "Berlin",
            "iana_time_zone": "Europe/Berlin",
            "external_id": self.external_id,
            "organization_id": self.organization_ids.first(),
            "default_group_id": self.group_ids.first(),
            "custom_role_id": self.custom_role_id,
            "ticket_restriction": self.ticket_restriction.map(TicketRestriction::name),
            "restricted_agent": self.is_agent() && (self.ticket_restriction.is_some() || self.light_agent),
            "only_private_comments": self.light_agent,
            "suspended": self.suspended,
            "active": true,
            "verified": true,
            "shared": false,
            "phone": null,
            "notes": null,
            "tags": [],
            "user_fields": {},
        })
    }
}

/// A ticket without its conversation.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Given by the account when 0.
    pub id: u64,
    /// Subject line.
    pub subject: String,
    /// The first comment's text.
    pub description: String,
    /// `new`, `open`, `pending`, `hold`, `solved` or `closed`.
    pub status: String,
    /// `urgent`, `high`, `normal` or `low`.
    pub priority: Option<String>,
    /// `problem`, `incident`, `question` or `task`.
    pub kind: Option<String>,
    /// Who asks.
    pub requester_id: u64,
    /// Who works on it.
    pub assignee_id: Option<u64>,
    /// Group it lies with.
    pub group_id: Option<u64>,
    /// Organisation of the requester.
    pub organization_id: Option<u64>,
    /// Others who follow as customers.
    pub collaborator_ids: Vec<u64>,
    /// Tags, sorted by the account.
    pub tags: Vec<String>,
    /// Values of custom fields by field id.
    pub custom_fields: BTreeMap<u64, Value>,
    /// Id in another system; need not be unique.
    pub external_id: Option<String>,
    /// Settable values the account only keeps: `due_at`, `recipient`, …
    pub other: BTreeMap<String, Value>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Last change, whole seconds. Every change moves it by at least one second, so that `safe_update` is exact.
    pub updated_at: OffsetDateTime,
}

impl Default for Ticket {
    fn default() -> Self {
        Self {
            id: 0,
            subject: String::new(),
            description: String::new(),
            status: "open".to_owned(),
            priority: None,
            kind: None,
            requester_id: 0,
            assignee_id: None,
            group_id: None,
            organization_id: None,
            collaborator_ids: Vec::new(),
            tags: Vec::new(),
            custom_fields: BTreeMap::new(),
            external_id: None,
            other: BTreeMap::new(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            updated_at: OffsetDateTime::UNIX_EPOCH,
        }
    }
}

impl Ticket {
    /// The fields whose change makes an audit event, by their API names.
    fn tracked(&self) -> Vec<(String, Value)> {
        let mut fields: Vec<(String, Value)> = [
            ("subject", json!(self.subject)),
            ("status", json!(self.status)),
            ("priority", json!(self.priority)),
            ("type", json!(self.kind)),
            ("requester_id", json!(self.requester_id)),
            ("assignee_id", json!(self.assignee_id)),
            ("group_id", json!(self.group_id)),
            ("organization_id", json!(self.organization_id)),
            ("external_id", json!(self.external_id)),
            ("tags", json!(self.tags)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        // The real account names a custom field by its id alone.
        fields.extend(self.custom_fields.iter().map(|(id, value)| (id.to_string(), value.clone())));
        fields.extend(self.other.clone());
        fields
    }

    pub(super) fn json(&self, url: &str) -> Value {
        let fields: Vec<Value> = self.custom_fields.iter().map(|(id, value)| json!({"id": id, "value": value})).collect();
        let mut ticket = json!({
            "id": self.id,
            "url": format!("{url}/api/v2/tickets/{}.json", self.id),
            "external_id": self.external_id,
            "via": {"channel": "web", "source": {"from": {}, "to": {}, "rel": null}},
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "generated_timestamp": self.updated_at.unix_timestamp(),
            "type": self.kind,
            "subject": self.subject,
            "raw_subject": self.subject,
            "description": self.description,
            "priority": self.priority,
            "status": self.status,
            "recipient": null,
            "requester_id": self.requester_id,
            "submitter_id": self.requester_id,
            "assignee_id": self.assignee_id,
            "organization_id": self.organization_id,
            "group_id": self.group_id,
            "collaborator_ids": self.collaborator_ids,
            "follower_ids": [],
            "email_cc_ids": self.collaborator_ids,
            "problem_id": null,
            "has_incidents": false,
            "due_at": null,
            "tags": self.tags,
            "custom_fields": fields,
            "fields": fields,
            "satisfaction_rating": null,
            "sharing_agreement_ids": [],
            "custom_status_id": null,
            "brand_id": null,
            "allow_channelback": false,
            "allow_attachments": true,
            "from_messaging_channel": false,
        });
        for (name, value) in &self.other {
            ticket[name] = value.clone();
        }
        ticket
    }
}

/// A file, either uploaded or already attached.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Id.
    pub id: u64,
    /// Name given at upload.
    pub file_name: String,
    /// Type given at upload.
    pub content_type: String,
    /// The unguessable part of `content_url`.
    pub secret: String,
    /// The bytes.
    pub content: Arc<[u8]>,
}

impl Attachment {
    pub(super) fn json(&self, url: &str) -> Value {
        let name: String = url::form_urlencoded::byte_serialize(self.file_name.as_bytes()).collect();
        let content_url = format!("{url}/attachments/token/{}/?name={name}", self.secret);
        json!({
            "id": self.id,
            "url": format!("{url}/api/v2/attachments/{}.json", self.id),
            "file_name": self.file_name,
            "content_type": self.content_type,
            "content_url": content_url,
            "mapped_content_url": content_url,
            "size": self.content.len(),
            "width": null,
            "height": null,
            "inline": false,
            "deleted": false,
            "malware_access_override": false,
            "malware_scan_result": "not_scanned",
            "thumbnails": [],
        })
    }
}

/// A comment of a ticket: a public reply or an internal note.
#[derive(Clone, Debug)]
pub struct Comment {
    /// Id; also the id of its event in the audit.
    pub id: u64,
    /// The audit it came with.
    pub audit_id: u64,
    /// Displayed author.
    pub author_id: u64,
    /// False for an internal note.
    pub public: bool,
    /// What was sent, if text; else the text of what was sent. Placeholders are expanded.
    pub body: String,
    /// Cleaned HTML. Placeholders are expanded.
    pub html_body: String,
    /// Its text, a line per block.
    pub plain_body: String,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// When.
    pub created_at: OffsetDateTime,
}

impl Comment {
    pub(super) fn json(&self, url: &str) -> Value {
        let attachments: Vec<Value> = self.attachments.iter().map(|a| a.json(url)).collect();
        json!({
            "id": self.id,
            "type": "Comment",
            "author_id": self.author_id,
            "audit_id": self.audit_id,
            "public": self.public,
            "body": self.body,
            "html_body": format!("<div class=\"zd-comment\" dir=\"auto\">{}</div>", self.html_body),
            "plain_body": self.plain_body,
            "attachments": attachments,
            "created_at": rfc3339(self.created_at),
            "via": {"channel": "api", "source": {"from": {}, "to": {}, "rel": null}},
            "metadata": {"system": {}, "custom": {}},
        })
    }
}

/// One change of a ticket.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Id.
    pub id: u64,
    /// Who did it: the authenticated user, whatever author the comment shows.
    pub author_id: u64,
    /// `Comment`, `Create` and `Change` events, as the API gives them.
    pub events: Vec<Value>,
    /// The `metadata` object of the request that did it.
    pub custom_metadata: Value,
    /// When.
    pub created_at: OffsetDateTime,
}

impl Audit {
    pub(super) fn json(&self, ticket: u64) -> Value {
        json!({
            "id": self.id,
            "ticket_id": ticket,
            "created_at": rfc3339(self.created_at),
            "author_id": self.author_id,
            "metadata": {"system": {"client": "Deskbridge tests", "ip_address": "127.0.0.1"}, "custom": self.custom_metadata},
            "events": self.events,
            "via": {"channel": "api", "source": {"from": {}, "to": {}, "rel": null}},
        })
    }
}

/// Text of a comment as it was sent.
#[derive(Clone, Debug)]
pub(super) enum Draft {
    Text(String),
    Html(String),
}

/// A comment before the account has it.
#[derive(Clone, Debug)]
pub(super) struct NewComment {
    pub author_id: u64,
    pub public: Option<bool>,
    pub draft: Draft,
    pub attachments: Vec<Attachment>,
}

/// A ticket with its conversation.
#[derive(Clone, Debug)]
pub(super) struct TicketRecord {
    pub ticket: Ticket,
    pub comments: Vec<Comment>,
    pub audits: Vec<Audit>,
    /// Counts every change, for pages that wait for one.
    pub revision: u64,
}

#[derive(Debug)]
pub(super) struct Upload {
    pub files: Vec<Attachment>,
    pub expires_at: OffsetDateTime,
}

#[derive(Clone, Debug)]
pub(super) struct Bearer {
    pub scopes: Vec<String>,
    pub expires_at: OffsetDateTime,
}

/// The answer to a ticket creation, kept for its `Idempotency-Key` (zendesk.md d.5).
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub body: Vec<u8>,
    pub answer: Value,
    pub ticket: u64,
    pub at: OffsetDateTime,
}

/// A message that the app's pages are told (`POST /api/v2/apps/notify`).
#[derive(Clone, Debug)]
pub struct Notification {
    /// Event name, without `api_notification.`.
    pub event: String,
    /// What the handler gets.
    pub body: Value,
    /// Only this agent's pages; else all.
    pub agent_id: Option<u64>,
}

/// Everything the account knows.
#[derive(Debug)]
pub(super) struct Account {
    pub options: Options,
    pub url: String,
    pub users: BTreeMap<u64, User>,
    pub groups: BTreeMap<u64, String>,
    pub private_groups: BTreeSet<u64>,
    pub custom_roles: BTreeMap<u64, TicketAccess>,
    pub organizations: BTreeMap<u64, String>,
    pub ticket_fields: BTreeMap<u64, TicketField>,
    pub tickets: BTreeMap<u64, TicketRecord>,
    pub uploads: HashMap<String, Upload>,
    pub files: HashMap<String, Attachment>,
    pub bearers: HashMap<String, Bearer>,
    pub remembered: HashMap<(u64, String), Remembered>,
    pub notifications: Vec<Notification>,
    pub installation_enabled: bool,
    pub key: Arc<AppKey>,
    pub limiter: Limiter,
    pub help_center: HelpCenter,
    /// Added to the real clock.
    pub clock_ahead: Duration,
    pub app_url: Option<String>,
    last_id: u64,
    last_ticket: u64,
}

impl Account {
    pub(super) fn new(options: Options, url: String, key: Arc<AppKey>) -> Self {
        let mut account = Self {
            limiter: Limiter::new(options.rate_limits.clone()),
            help_center: HelpCenter::new(&options.help_center),
            options,
            url,
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            private_groups: BTreeSet::new(),
            custom_roles: BTreeMap::new(),
            organizations: BTreeMap::new(),
            ticket_fields: BTreeMap::new(),
            tickets: BTreeMap::new(),
            uploads: HashMap::new(),
            files: HashMap::new(),
            bearers: HashMap::new(),
            remembered: HashMap::new(),
            notifications: Vec::new(),
            installation_enabled: true,
            key,
            clock_ahead: Duration::ZERO,
            app_url: None,
            last_id: 20_978_000,
            last_ticket: 35_435,
        };
        for (kind, title) in [("subject", "Subject"), ("description", "Description"), ("status", "Status")] {
            account.add_ticket_field(TicketField::of_the_account(kind, title));
        }
        let group = account.add_group("Support");
        let email = account.options.api_email.clone();
        account.add_user(User { name: "Deskbridge".to_owned(), email, role: Role::Admin, group_ids: vec![group], ..User::default() });
        account
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        whole_seconds(real_time() + self.clock_ahead)
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn add_group(&mut self, name: &str) -> u64 {
        let id = self.next_id();
        self.groups.insert(id, name.to_owned());
        id
    }

    /// The account's own rule for what an agent sees. Whoever has to do with a ticket sees it, whichever group or organisation it is of.
    pub(super) fn may_see(&self, user: &User, ticket: &Ticket) -> bool {
        if user.suspended || !user.is_agent() {
            return false;
        }
        let followers = ticket.other.get("follower_ids").and_then(Value::as_array);
        let follows = followers.is_some_and(|ids| ids.iter().any(|id| id.as_u64() == Some(user.id)));
        let is_involved =
            ticket.requester_id == user.id || ticket.assignee_id == Some(user.id) || ticket.collaborator_ids.contains(&user.id) || follows;
        let own_group = ticket.group_id.is_some_and(|id| user.group_ids.contains(&id));
        let own_organization = ticket.organization_id.is_some_and(|id| user.organization_ids.contains(&id));
        let role = user.custom_role_id.and_then(|id| self.custom_roles.get(&id));
        match (user.role, role, user.ticket_restriction) {
            (Role::Admin, ..) | (_, Some(TicketAccess::All), _) | (_, None, None) => true,
            (_, Some(TicketAccess::Assigned), _) | (_, None, Some(TicketRestriction::Assigned)) => ticket.assignee_id == Some(user.id),
            (_, None, Some(TicketRestriction::Requested)) => ticket.requester_id == user.id,
            _ if is_involved => true,
            (_, Some(TicketAccess::GroupsAndPublicGroups), _) => {
                own_group || ticket.group_id.is_none_or(|id| !self.private_groups.contains(&id))
            }
            (_, Some(TicketAccess::Groups), _) | (_, None, Some(TicketRestriction::Groups)) => own_group,
            (_, Some(TicketAccess::Organization), _) | (_, None, Some(TicketRestriction::Organization)) => own_organization,
        }
    }

    pub(super) fn add_organization(&mut self, name: &str) -> u64 {
        let id = self.next_id();
        self.organizations.insert(id, name.to_owned());
        id
    }

    /// Every ticket has a value for every field, `null` at first.
    pub(super) fn add_ticket_field(&mut self, mut field: TicketField) -> u64 {
        if field.id == 0 {
            field.id = self.next_id();
        }
        let id = field.id;
        if !field.system {
            for record in self.tickets.values_mut() {
                record.ticket.custom_fields.entry(id).or_insert(Value::Null);
            }
        }
        self.ticket_fields.insert(id, field);
        id
    }

    /// Whether tickets may have a value for this field.
    pub(super) fn has_custom_field(&self, id: u64) -> bool {
        self.ticket_fields.get(&id).is_some_and(|field| !field.system)
    }

    pub(super) fn add_user(&mut self, mut user: User) -> u64 {
        if user.id == 0 {
            user.id = self.next_id();
        }
        if user.email.is_empty() {
            user.email = format!("user{}@example.com", user.id);
        }
        let id = user.id;
        self.users.insert(id, user);
        id
    }

    pub(super) fn user_by_email(&self, email: &str) -> Option<&User> {
        self.users.values().find(|user| user.email.eq_ignore_ascii_case(email))
    }

    /// Adds a ticket whose first comment is `opening`, done by `actor`.
    pub(super) fn add_ticket(&mut self, mut ticket: Ticket, opening: NewComment, actor: u64, custom_metadata: Value) -> u64 {
        let now = self.now();
        if ticket.id == 0 {
            self.last_ticket += 1;
            ticket.id = self.last_ticket;
        }
        self.last_ticket = self.last_ticket.max(ticket.id);
        ticket.created_at = now;
        ticket.updated_at = now;
        ticket.tags.sort();
        ticket.tags.dedup();
        for field in self.ticket_fields.values().filter(|field| !field.system) {
            ticket.custom_fields.entry(field.id).or_insert(Value::Null);
        }
        if ticket.organization_id.is_none() {
            ticket.organization_id = self.users.get(&ticket.requester_id).and_then(|user| user.organization_ids.first().copied());
        }
        let id = ticket.id;
        self.tickets.insert(id, TicketRecord { ticket, comments: Vec::new(), audits: Vec::new(), revision: 0 });
        let audit_id = self.next_id();
        let comment = self.comment(id, audit_id, opening);
        let mut events = vec![comment.json(&self.url)];
        let created: Vec<(String, Value)> = self.tickets[&id].ticket.tracked().into_iter().filter(|(_, value)| !value.is_null()).collect();
        for (name, value) in created {
            events.push(json!({"id": self.next_id(), "type": "Create", "field_name": name, "value": value}));
        }
        if let Some(record) = self.tickets.get_mut(&id) {
            record.ticket.description.clone_from(&comment.plain_body);
            record.comments.push(comment);
            record.audits.push(Audit { id: audit_id, author_id: actor, events, custom_metadata, created_at: now });
            record.revision += 1;
        }
        id
    }

    /// Puts `changed` in the place of the ticket and appends the comment, as one audit. Returns that audit; `None`
    /// when there was nothing to do or the ticket is not there.
    pub(super) fn update_ticket(
        &mut self,
        changed: Ticket,
        comment: Option<NewComment>,
        actor: u64,
        custom_metadata: Value,
    ) -> Option<Audit> {
        let id = changed.id;
        let before: BTreeMap<String, Value> = self.tickets.get(&id)?.ticket.tracked().into_iter().collect();
        let changes: Vec<(String, Value, Value)> = changed
            .tracked()
            .into_iter()
            .filter_map(|(name, value)| {
                let previous = before.get(&name).cloned().unwrap_or(Value::Null);
                (previous != value).then_some((name, value, previous))
            })
            .collect();
        if changes.is_empty() && comment.is_none() {
            return None;
        }
        let now = self.now();
        self.tickets.get_mut(&id)?.ticket = changed;
        let audit_id = self.next_id();
        let comment = comment.map(|new| self.comment(id, audit_id, new));
        let mut events: Vec<Value> = comment.iter().map(|c| c.json(&self.url)).collect();
        for (name, value, previous) in changes {
            events.push(json!({
                "id": self.next_id(), "type": "Change", "field_name": name, "value": value, "previous_value": previous,
            }));
        }
        let audit = Audit { id: audit_id, author_id: actor, events, custom_metadata, created_at: now };
        let record = self.tickets.get_mut(&id)?;
        record.comments.extend(comment);
        record.audits.push(audit.clone());
        record.touch(now);
        Some(audit)
    }

    fn comment(&mut self, ticket: u64, audit_id: u64, new: NewComment) -> Comment {
        let id = self.next_id();
        let expands = self.users.get(&new.author_id).is_some_and(User::is_agent);
        let record = self.tickets.get(&ticket);
        let expand = |text: &str, is_html: bool| {
            if !expands {
                return text.to_owned();
            }
            placeholders::expand(text, is_html, |name| {
                let value = self.placeholder(&record?.ticket, new.author_id, name)?;
                Some(if is_html { html::escape_text(&value) } else { value })
            })
        };
        let (body, html_body) = match &new.draft {
            Draft::Text(text) => {
                let body = expand(&collapse_blanks(cut(text)), false);
                let html_body = html::from_text(&body);
                (Some(body), html_body)
            }
            Draft::Html(raw) => (None, expand(&html::clean(cut(raw)), true)),
        };
        let plain_body = html::text(&html_body);
        let public = new.public.or_else(|| Some(record?.comments.first()?.public)).unwrap_or(true);
        for file in &new.attachments {
            self.files.insert(file.secret.clone(), file.clone());
        }
        Comment {
            id,
            audit_id,
            author_id: new.author_id,
            public,
            body: body.unwrap_or_else(|| plain_body.clone()),
            html_body,
            plain_body,
            attachments: new.attachments,
            created_at: self.now(),
        }
    }

    /// The value of `{{name}}` on this ticket.
    fn placeholder(&self, ticket: &Ticket, author: u64, name: &str) -> Option<String> {
        if let Some(field) = name.strip_prefix("ticket.ticket_field_") {
            let value = ticket.custom_fields.get(&field.parse().ok()?).filter(|value| !value.is_null())?;
            return Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let (object, property) = name.rsplit_once('.')?;
        let person = match object {
            "ticket" => {
                return match property {
                    "id" => Some(ticket.id.to_string()),
                    "title" => Some(ticket.subject.clone()),
                    "description" => Some(ticket.description.clone()),
                    "status" => Some(ticket.status.clone()),
                    "priority" => ticket.priority.clone(),
                    "external_id" => ticket.external_id.clone(),
                    "tags" => Some(ticket.tags.join(" ")),
                    "link" => Some(format!("{}/agent/tickets/{}", self.url, ticket.id)),
                    _ => None,
                };
            }
            "ticket.requester" => ticket.requester_id,
            "ticket.assignee" => ticket.assignee_id?,
            "current_user" => author,
            _ => return None,
        };
        let person = self.users.get(&person)?;
        match property {
            "name" => Some(person.name.clone()),
            "first_name" => person.name.split(' ').next().map(str::to_owned),
            "email" => Some(person.email.clone()),
            "id" => Some(person.id.to_string()),
            _ => None,
        }
    }
}

impl TicketRecord {
    /// Marks a change.
    pub(super) fn touch(&mut self, now: OffsetDateTime) {
        self.ticket.updated_at = now.max(self.ticket.updated_at + Duration::SECOND);
        self.revision += 1;
    }
}

/// The machine's clock: peers outside this process live by it.
#[expect(clippy::disallowed_methods, reason = "an outside system has its own clock; tests move it by advance_clock")]
pub(super) fn real_time() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// As the API writes times: `2026-08-20T10:38:52Z`.
pub(super) fn rfc3339(at: OffsetDateTime) -> String {
    whole_seconds(at).format(&Rfc3339).unwrap_or_default()
}

fn whole_seconds(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(BODY_LIMIT)]
}

/// `body` collapses white space (zendesk.md d.3); line ends stay.
fn collapse_blanks(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<&str>>().join(" ")).collect();
    lines.join("\n")
}

/// `value` as an object, for answers that are put together from two.
pub(super) fn merged(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Object(mut first), Value::Object(second)) => {
            first.extend::<Map<String, Value>>(second);
            Value::Object(first)
        }
        (first, _) => first,
    }
}
