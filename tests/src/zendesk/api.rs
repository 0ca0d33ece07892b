//! The REST front: which endpoint a path means, who may call it, how often, and what runs then.
//!
//! Order as in the real account: unknown path, credentials, permission, limits, then the endpoint itself.

use axum::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::Duration;

use super::account::{Account, Bearer, Role};
use super::call::{Call, Caller, Outcome, Reply};
use super::limits::{Allowance, Counted};
use super::{apps, help_center, people, requests, ticket_fields, tickets, uploads};

/// Every endpoint there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint<'a> {
    ListTickets,
    CreateTicket,
    ShowTicket(u64),
    UpdateTicket(u64),
    ListComments(u64),
    ListAudits(u64),
    ListTags(u64),
    AddTags(u64),
    SetTags(u64),
    RemoveTags(u64),
    Upload,
    DeleteUpload(&'a str),
    ShowUser(u64),
    ShowSelf,
    SearchUsers,
    GroupMemberships(u64),
    OrganizationMemberships(u64),
    ListGroups,
    ShowGroup(u64),
    ListCustomRoles,
    ShowCustomRole(u64),
    ShowRequest(u64),
    ListTicketFields,
    ShowTicketField(u64),
    ShowOrganization(u64),
    HelpCenterToken,
    HelpCenterKeys,
    Search,
    PublicKey { app: u64, pem: bool },
    ListInstallations,
    ShowInstallation(u64),
    NotifyApp,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Anyone,
    EndUser,
    Agent,
    Admin,
}

impl<'a> Endpoint<'a> {
    fn find(method: &str, segments: &[&'a str]) -> Option<Self> {
        let id = |text: &str| text.parse::<u64>().ok();
        Some(match (method, segments) {
            ("GET", ["tickets"]) => Self::ListTickets,
            ("POST", ["tickets"]) => Self::CreateTicket,
            ("GET", ["tickets", ticket]) => Self::ShowTicket(id(ticket)?),
            ("PUT", ["tickets", ticket]) => Self::UpdateTicket(id(ticket)?),
            ("GET", ["tickets", ticket, "comments"]) => Self::ListComments(id(ticket)?),
            ("GET", ["tickets", ticket, "audits"]) => Self::ListAudits(id(ticket)?),
            ("GET", ["tickets", ticket, "tags"]) => Self::ListTags(id(ticket)?),
            ("PUT", ["tickets", ticket, "tags"]) => Self::AddTags(id(ticket)?),
            ("POST", ["tickets", ticket, "tags"]) => Self::SetTags(id(ticket)?),
            ("DELETE", ["tickets", ticket, "tags"]) => Self::RemoveTags(id(ticket)?),
            ("POST", ["uploads"]) => Self::Upload,
            ("DELETE", ["uploads", token]) => Self::DeleteUpload(token),
            ("GET", ["users", "me"]) => Self::ShowSelf,
            ("GET", ["users", "search"]) => Self::SearchUsers,
            ("GET", ["users", user]) => Self::ShowUser(id(user)?),
            ("GET", ["users", user, "group_memberships"]) => Self::GroupMemberships(id(user)?),
            ("GET", ["users", user, "organization_memberships"]) => Self::OrganizationMemberships(id(user)?),
            ("GET", ["groups"]) => Self::ListGroups,
            ("GET", ["groups", group]) => Self::ShowGroup(id(group)?),
            ("GET", ["custom_roles"]) => Self::ListCustomRoles,
            ("GET", ["custom_roles", role]) => Self::ShowCustomRole(id(role)?),
            ("GET", ["requests", request]) => Self::ShowRequest(id(request)?),
            ("GET", ["ticket_fields"]) => Self::ListTicketFields,
            ("GET", ["ticket_fields", field]) => Self::ShowTicketField(id(field)?),
            ("GET", ["organizations", organization]) => Self::ShowOrganization(id(organization)?),
            ("GET", ["help_center", "integration", "token"]) => Self::HelpCenterToken,
            ("GET", ["help_center", "integration", "keys"]) => Self::HelpCenterKeys,
            ("GET", ["search"]) => Self::Search,
            ("GET", ["apps", "installations"]) => Self::ListInstallations,
            ("GET", ["apps", "installations", installation]) => Self::ShowInstallation(id(installation)?),
            ("GET", ["apps", app, "public_key"]) => Self::PublicKey { app: id(app)?, pem: false },
            ("GET", ["apps", app, "public_key.pem"]) => Self::PublicKey { app: id(app)?, pem: true },
            ("POST", ["apps", "notify"]) => Self::NotifyApp,
            _ => return None,
        })
    }

    fn access(self, account: &Account) -> Access {
        match self {
            Self::ShowSelf | Self::HelpCenterKeys => Access::Anyone,
            Self::PublicKey { .. } if !account.options.key_endpoint.needs_credentials => Access::Anyone,
            Self::ShowRequest(_)
            | Self::ListTicketFields
            | Self::ShowTicketField(_)
            | Self::HelpCenterToken
            | Self::Upload
            | Self::DeleteUpload(_) => Access::EndUser,
            Self::ListInstallations | Self::ShowInstallation(_) => Access::Admin,
            _ => Access::Agent,
        }
    }

    /// The OAuth scopes any of which is enough (zendesk.md d.1).
    fn scopes(self, method: &str) -> Vec<&'static str> {
        let global = if method == "GET" { "read" } else { "write" };
        let resource = match (self, method) {
            // These need the global scope.
            (
                Self::ListAudits(_)
                | Self::ListGroups
                | Self::ShowGroup(_)
                | Self::ListCustomRoles
                | Self::ShowCustomRole(_)
                | Self::ListTicketFields
                | Self::ShowTicketField(_),
                _,
            ) => None,
            (Self::ShowOrganization(_), _) => Some("organizations:read"),
            (Self::ListTickets | Self::ShowTicket(_) | Self::ListComments(_) | Self::ListTags(_) | Self::Search, _) => Some("tickets:read"),
            (
                Self::CreateTicket
                | Self::UpdateTicket(_)
                | Self::AddTags(_)
                | Self::SetTags(_)
                | Self::RemoveTags(_)
                | Self::Upload
                | Self::DeleteUpload(_),
                _,
            ) => Some("tickets:write"),
            (Self::ShowUser(_) | Self::ShowSelf | Self::SearchUsers, _) => Some("users:read"),
            (_, "GET") => Some("apps:read"),
            _ => Some("apps:write"),
        };
        [Some(global), resource].into_iter().flatten().collect()
    }

    fn counted(self, user: u64) -> Vec<Counted> {
        let mut windows = vec![Counted::Account];
        match self {
            Self::UpdateTicket(ticket) => {
                windows.extend([Counted::TicketUpdates, Counted::UpdatesOfTicket { user, ticket }]);
            }
            Self::ListAudits(_) => windows.push(Counted::AuditLists),
            Self::NotifyApp => windows.push(Counted::Notifications),
            _ => {}
        }
        windows
    }

    /// Only an Enterprise plan has these (zendesk.md e.3).
    fn is_of_integration(self) -> bool {
        matches!(self, Self::HelpCenterToken | Self::HelpCenterKeys)
    }

    fn run(self, account: &mut Account, call: &Call) -> Outcome {
        match self {
            Self::ListTickets => tickets::list(account, call),
            Self::CreateTicket => tickets::create(account, call),
            Self::ShowTicket(id) => tickets::show(account, call, id),
            Self::UpdateTicket(id) => tickets::update(account, call, id),
            Self::ListComments(id) => tickets::comments(account, call, id),
            Self::ListAudits(id) => tickets::audits(account, call, id),
            Self::ListTags(id) => tickets::tags(account, call, id),
            Self::AddTags(id) => tickets::change_tags(account, call, id, tickets::TagChange::Add),
            Self::SetTags(id) => tickets::change_tags(account, call, id, tickets::TagChange::Set),
            Self::RemoveTags(id) => tickets::change_tags(account, call, id, tickets::TagChange::Remove),
            Self::Upload => uploads::create(account, call),
            Self::DeleteUpload(token) => uploads::delete(account, token),
            Self::ShowUser(id) => people::show(account, id),
            Self::ShowSelf => Ok(people::show_self(account, call)),
            Self::SearchUsers => people::search_users(account, call),
            Self::GroupMemberships(id) => people::group_memberships(account, call, id),
            Self::OrganizationMemberships(id) => people::organization_memberships(account, call, id),
            Self::ListGroups => people::groups(account, call),
            Self::ShowGroup(id) => people::group(account, call, id),
            Self::ListCustomRoles => people::custom_roles(account, call),
            Self::ShowCustomRole(id) => people::custom_role(account, call, id),
            Self::ShowRequest(id) => requests::show(account, call, id),
            Self::ListTicketFields => ticket_fields::list(account, call),
            Self::ShowTicketField(id) => ticket_fields::show(account, call, id),
            Self::ShowOrganization(id) => people::organization(account, call, id),
            Self::HelpCenterToken => help_center::tokens::give(account, call),
            Self::HelpCenterKeys => help_center::tokens::keys(account, call),
            Self::Search => people::search(account, call),
            Self::PublicKey { app, pem } => apps::public_key(account, app, pem),
            Self::ListInstallations => apps::installations(account, call),
            Self::ShowInstallation(id) => apps::installation(account, id),
            Self::NotifyApp => apps::notify(account, call),
        }
    }
}

/// Answers a REST call; also gives the e-mail address of the user it was done as.
pub(super) fn answer(account: &mut Account, mut call: Call) -> (Reply, Option<String>) {
    let path = call.path.clone();
    let segments: Vec<&str> = path.strip_prefix("/api/v2/").unwrap_or_default().split('/').collect();
    let Some(endpoint) = Endpoint::find(call.method.as_str(), &segments) else {
        return (Reply::no_endpoint(), None);
    };
    if endpoint.is_of_integration() && !account.help_center.integration_token {
        return (Reply::no_endpoint(), None);
    }
    let caller = match authenticate(account, &call) {
        Ok(caller) => caller,
        Err(refusal) => return (*refusal, None),
    };
    let email = caller.as_ref().and_then(|caller| account.users.get(&caller.user)).map(|user| user.email.clone());
    let answered = permit(account, endpoint, &call, caller.as_ref()).and_then(|()| {
        call.session = caller.as_ref().and_then(|caller| caller.session.clone());
        call.caller = caller.map_or(0, |caller| caller.user);
        let windows = endpoint.counted(call.caller);
        let now = account.now();
        match account.limiter.count(now, &windows) {
            Ok(allowances) => {
                let reply = endpoint.run(account, &call).unwrap_or_else(|refusal| *refusal);
                Ok(with_allowances(reply, &allowances))
            }
            Err(exceeded) => Err(too_many(exceeded).into()),
        }
    });
    (answered.unwrap_or_else(|refusal| *refusal), email)
}

/// `None` for a call without credentials; wrong ones are refused everywhere. A session that is over counts as none.
fn authenticate(account: &Account, call: &Call) -> Result<Option<Caller>, Box<Reply>> {
    let Some(authorization) = call.header(header::AUTHORIZATION) else {
        let session = account.help_center.session_of(account, call);
        return Ok(session.map(|session| Caller { user: session.user, scopes: None, session: Some(session.clone()) }));
    };
    if call.host_mapped {
        return Err(Reply::unauthorized().into());
    }
    let caller = match authorization.split_once(' ') {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("basic") => basic(account, given.trim()),
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => bearer(account, given.trim()),
        _ => None,
    };
    caller.map(Some).ok_or_else(|| Reply::unauthorized().into())
}

/// `{email}/token:{api_token}`; the token acts as any user of the account (zendesk.md d.1).
fn basic(account: &Account, encoded: &str) -> Option<Caller> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, token) = decoded.split_once(':')?;
    let user = account.user_by_email(user.strip_suffix("/token")?)?;
    (token == account.options.api_token && !user.suspended).then_some(Caller { user: user.id, scopes: None, session: None })
}

fn bearer(account: &Account, token: &str) -> Option<Caller> {
    let bearer = account.bearers.get(token)?;
    let user = account.user_by_email(&account.options.api_email)?;
    let scopes = Some(bearer.scopes.clone());
    (bearer.expires_at > account.now() && !user.suspended).then_some(Caller { user: user.id, scopes, session: None })
}

fn permit(account: &Account, endpoint: Endpoint<'_>, call: &Call, caller: Option<&Caller>) -> Result<(), Box<Reply>> {
    let access = endpoint.access(account);
    let Some(caller) = caller else {
        return match access {
            Access::Anyone => Ok(()),
            _ => Err(Reply::unauthorized().into()),
        };
    };
    let role = account.users.get(&caller.user).map(|user| user.role);
    let high_enough = match access {
        Access::Anyone | Access::EndUser => true,
        Access::Agent => role.is_some_and(|role| role != Role::EndUser),
        Access::Admin => role == Some(Role::Admin),
    };
    let in_scope = caller
        .scopes
        .as_ref()
        .is_none_or(|granted| endpoint.scopes(call.method.as_str()).iter().any(|scope| granted.iter().any(|other| other == scope)));
    if let Some(session) = &caller.session {
        let changes = !matches!(call.method.as_str(), "GET" | "HEAD");
        // Stricter than the real account, where an agent's session opens the agents' endpoints, too.
        if matches!(access, Access::Agent | Access::Admin) || changes && call.header("x-csrf-token") != Some(&session.authenticity_token) {
            return Err(Reply::forbidden().into());
        }
    }
    if high_enough && in_scope { Ok(()) } else { Err(Reply::forbidden().into()) }
}

fn with_allowances(mut reply: Reply, allowances: &[Allowance]) -> Reply {
    for allowance in allowances {
        let (total, left, resets) = (allowance.total, allowance.remaining, allowance.resets);
        if allowance.counted == Counted::Account {
            reply = reply
                .with("x-rate-limit", total.to_string())
                .with("x-rate-limit-remaining", left.to_string())
                .with("ratelimit-limit", total.to_string())
                .with("ratelimit-remaining", left.to_string())
                .with("ratelimit-reset", resets.to_string());
        } else if let Some(header) = endpoint_header(allowance.counted) {
            reply = reply.with(header, format!("total={total}; remaining={left}; resets={resets}"));
        }
    }
    reply
}

fn endpoint_header(counted: Counted) -> Option<&'static str> {
    match counted {
        Counted::TicketUpdates => Some("zendesk-ratelimit-tickets-update"),
        Counted::AuditLists => Some("zendesk-ratelimit-ticket-audits-index"),
        _ => None,
    }
}

/// 429 in both shapes the reference knows: plain text for the account, JSON for an endpoint (zendesk.md d.10).
fn too_many(exceeded: Allowance) -> Reply {
    let reply = if exceeded.counted == Counted::Account {
        let mut reply = Reply::bytes("text/plain; charset=utf-8", "Number of allowed API requests per minute exceeded");
        reply.status = 429;
        reply
    } else {
        Reply::json(429, json!({"errors": [{"code": "TooManyRequests", "title": "You have exceeded the limit of this endpoint"}]}))
    };
    with_allowances(reply, &[exceeded]).with("retry-after", exceeded.resets.to_string())
}

/// `POST /oauth/tokens` for `client_credentials` (zendesk.md d.1), as JSON or as a form.
pub(super) fn oauth_token(account: &mut Account, call: &Call) -> Outcome {
    let refusal = |status: u16, error: &str, description: &str| {
        Box::new(Reply::json(status, json!({"error": error, "error_description": description})))
    };
    let is_form = call.header(header::CONTENT_TYPE).is_some_and(|media_type| media_type.starts_with("application/x-www-form-urlencoded"));
    let fields: Value = if is_form {
        url::form_urlencoded::parse(&call.body)
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect::<serde_json::Map<_, _>>()
            .into()
    } else {
        call.json()?.into()
    };
    let field = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
    if field("grant_type") != "client_credentials" {
        return Err(refusal(400, "unsupported_grant_type", "Only client_credentials is simulated."));
    }
    let (client, secret) = (field("client_id"), field("client_secret"));
    let Some(known) = account.options.oauth_client.clone().filter(|known| (&known.id, &known.secret) == (&client, &secret)) else {
        return Err(refusal(401, "invalid_client", "Client authentication failed due to unknown client."));
    };
    let scope = field("scope");
    let scopes: Vec<String> = scope.split_whitespace().map(str::to_owned).collect();
    if scopes.is_empty() {
        return Err(refusal(400, "invalid_scope", "The scope is missing."));
    }
    if let Some(other) = scopes.iter().find(|scope| !known.allowed_scopes.contains(scope)) {
        return Err(refusal(400, "invalid_scope", &format!("The requested scope {other} is invalid, unknown, or malformed.")));
    }
    let life = match &fields["expires_in"] {
        Value::Null => known.token_life,
        value => value
            .as_i64()
            .or_else(|| value.as_str()?.parse().ok())
            .filter(|seconds| (300..=172_800).contains(seconds))
            .ok_or_else(|| refusal(400, "invalid_request", "expires_in must be 300 to 172800 seconds."))?,
    };
    let token = super::random_token();
    let now = account.now();
    account.bearers.retain(|_, bearer| bearer.expires_at > now);
    account.bearers.insert(token.clone(), Bearer { scopes, expires_at: now + Duration::seconds(life) });
    Ok(Reply::json(200, json!({"access_token": token, "token_type": "bearer", "scope": scope, "expires_in": life})))
}
