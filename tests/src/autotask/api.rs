//! The REST front: which endpoint a path means, who may call it, how often, and what runs then.
//!
//! In this order: discovery, credentials and zone, the hour's threshold, the path, the caller's rights, the endpoint itself.

use axum::http::Method;
use serde_json::{Value, json};
use time::Duration;

use super::call::{Call, Checked, Outcome, Refusal, Reply};
use super::limits::slowness;
use super::query::Page;
use super::schema::{Entity, Record};
use super::tenant::{ApiUser, Right, Tenant, integer};
use super::{ThreadRefusal, ZoneAddress, attachments, notes, query, tickets, time_entries};

/// Path of the services in every zone. Clients must take it as discovery gives it (a.1).
pub const SERVICES: &str = "/ATServicesRest/";

/// The entity of files where they are added.
const ATTACHMENTS: &str = "TicketAttachments";

/// What a path and a method mean. Creates of what nothing here makes, companies for example, are not simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Show(Entity, i64),
    Query(Entity, Page),
    Count(Entity),
    Information(Entity),
    /// Of files where they are added: `TicketAttachments`.
    AttachmentInformation,
    Fields(Entity),
    UserDefinedFields(Entity),
    CreateTicket,
    UpdateTicket,
    Children(Entity, i64),
    Child(Entity, i64, i64),
    CreateNote(i64),
    UpdateNote(i64),
    CreateAttachment(i64),
    AddConfigurationItem(i64),
    CreateTimeEntry,
    UpdateTimeEntry,
    DeleteTimeEntry(i64),
    Threshold,
}

/// As whom something is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Author {
    pub resource: i64,
    /// The API user's own record, when he writes as somebody else.
    pub impersonator: Option<i64>,
    pub may_set_work_type: bool,
}

impl Author {
    /// Writes who made the record; what the body said about it is forgotten (a.6).
    pub(super) fn sign(self, record: &mut Record, field: &str) {
        record.insert(field.to_owned(), self.resource.into());
        record.insert("impersonatorCreatorResourceID".to_owned(), self.impersonator.into());
    }
}

impl Endpoint {
    fn find(method: &Method, segments: &[&str]) -> Option<Self> {
        let id = |text: &str| text.parse::<i64>().ok().filter(|id| *id >= 0);
        if let ["Tickets", ticket, child, rest @ ..] = segments
            && let (Some(ticket), Some(entity)) = (id(ticket), Entity::of_child_path(child))
        {
            return Some(match (method.as_str(), rest, entity) {
                ("GET", [], _) => Self::Children(entity, ticket),
                ("GET", [child], _) => Self::Child(entity, ticket, id(child)?),
                ("POST", [], Entity::TicketNotes) => Self::CreateNote(ticket),
                ("PATCH", [], Entity::TicketNotes) => Self::UpdateNote(ticket),
                ("POST", [], Entity::AttachmentInfo) => Self::CreateAttachment(ticket),
                ("POST", [], _) => Self::AddConfigurationItem(ticket),
                _ => return None,
            });
        }
        let (first, rest) = segments.split_first()?;
        if *first == "ThresholdInformation" {
            return (*method == Method::GET && rest.is_empty()).then_some(Self::Threshold);
        }
        if *first == ATTACHMENTS {
            return match (method.as_str(), rest) {
                ("GET", ["entityInformation"]) => Some(Self::AttachmentInformation),
                // The fields of what is added are those of what is read.
                ("GET", ["entityInformation", "fields"]) => Some(Self::Fields(Entity::AttachmentInfo)),
                _ => None,
            };
        }
        let entity = Entity::of_path(first)?;
        Some(match (method.as_str(), rest) {
            ("GET" | "POST", ["query"]) => Self::Query(entity, Page::First),
            ("GET" | "POST", ["query", "next"]) => Self::Query(entity, Page::Next),
            ("GET" | "POST", ["query", "previous"]) => Self::Query(entity, Page::Previous),
            ("GET" | "POST", ["query", "count"]) => Self::Count(entity),
            ("GET", ["entityInformation"]) => Self::Information(entity),
            ("GET", ["entityInformation", "fields"]) => Self::Fields(entity),
            ("GET", ["entityInformation", "userDefinedFields"]) => Self::UserDefinedFields(entity),
            ("POST", []) if entity == Entity::Tickets => Self::CreateTicket,
            ("PATCH" | "PUT", []) if entity == Entity::Tickets => Self::UpdateTicket,
            ("POST", []) if entity == Entity::TimeEntries => Self::CreateTimeEntry,
            ("PATCH", []) if entity == Entity::TimeEntries => Self::UpdateTimeEntry,
            ("DELETE", [entry]) if entity == Entity::TimeEntries => Self::DeleteTimeEntry(id(entry)?),
            ("GET", [record]) => Self::Show(entity, id(record)?),
            _ => return None,
        })
    }

    /// What the caller's security level must allow; metadata is for everybody.
    fn right(self) -> Option<(Entity, Right)> {
        Some(match self {
            Self::Show(entity, _) | Self::Query(entity, _) | Self::Count(entity) | Self::Children(entity, _) | Self::Child(entity, ..) => {
                (entity, Right::Query)
            }
            Self::CreateTicket => (Entity::Tickets, Right::Create),
            Self::UpdateTicket => (Entity::Tickets, Right::Update),
            Self::CreateNote(_) => (Entity::TicketNotes, Right::Create),
            Self::UpdateNote(_) => (Entity::TicketNotes, Right::Update),
            Self::CreateAttachment(_) => (Entity::AttachmentInfo, Right::Create),
            Self::AddConfigurationItem(_) => (Entity::TicketAdditionalConfigurationItems, Right::Create),
            Self::CreateTimeEntry => (Entity::TimeEntries, Right::Create),
            Self::UpdateTimeEntry => (Entity::TimeEntries, Right::Update),
            Self::DeleteTimeEntry(_) => (Entity::TimeEntries, Right::Delete),
            Self::Information(_) | Self::AttachmentInformation | Self::Fields(_) | Self::UserDefinedFields(_) | Self::Threshold => {
                return None;
            }
        })
    }

    fn run(self, tenant: &mut Tenant, user: &ApiUser, author: Author, call: &Call, base: &str) -> Outcome {
        match self {
            Self::Show(entity, id) => show(tenant, entity, id, None),
            Self::Query(entity, page) => query::run(tenant, call, entity, page, base),
            Self::Count(entity) => query::count(tenant, call, entity),
            Self::Information(entity) => Ok(information(user, entity)),
            Self::AttachmentInformation => Ok(attachment_information(user)),
            Self::Fields(entity) => Ok(Reply::json(tenant.fields_json(entity))),
            Self::UserDefinedFields(entity) => Ok(Reply::json(tenant.user_defined_fields_json(entity))),
            Self::CreateTicket => tickets::create(tenant, author, call),
            Self::UpdateTicket => tickets::update(tenant, author, call),
            Self::Children(entity, ticket) => Ok(query::children(tenant, entity, ticket)),
            Self::Child(Entity::AttachmentInfo, ticket, id) => attachments::show(tenant, ticket, id),
            Self::Child(entity, ticket, id) => show(tenant, entity, id, Some(ticket)),
            Self::CreateNote(ticket) => notes::create(tenant, author, call, ticket),
            Self::UpdateNote(ticket) => notes::update(tenant, author, call, ticket),
            Self::CreateAttachment(ticket) => attachments::create(tenant, author, call, ticket),
            Self::AddConfigurationItem(ticket) => tickets::add_configuration_item(tenant, call, ticket),
            Self::CreateTimeEntry => time_entries::create(tenant, author, call),
            Self::UpdateTimeEntry => time_entries::update(tenant, call),
            Self::DeleteTimeEntry(id) => time_entries::delete(tenant, author, id),
            Self::Threshold => Ok(threshold(tenant)),
        }
    }
}

/// Answers a call that came to `zone`; also gives the user it was done as.
pub(super) fn answer(tenant: &mut Tenant, zones: &[ZoneAddress], zone: usize, call: &Call) -> (Reply, Option<String>) {
    let shape = tenant.options.error_shape;
    let refused = |refusal: Refusal| Reply::refusal(refusal, shape);
    if let Some(outcome) = discovery(tenant, zones, call) {
        return (outcome.unwrap_or_else(refused), None);
    }
    let (base, user) = match authenticate(tenant, zone, call) {
        Ok(user) => (zones[zone].services.clone(), user),
        Err(refusal) => return (refused(refusal), None),
    };
    let name = user.user_name.clone();
    let outcome = admit(tenant).and_then(|()| {
        if call.url_length > URL_MAX {
            // The web server itself, before the API sees the call (a.4).
            return Err(Refusal::framework(404, "The request URI is too long."));
        }
        let endpoint = find(call)?;
        let author = permit(tenant, &user, endpoint, call)?;
        endpoint.run(tenant, &user, author, call, &base)
    });
    (outcome.unwrap_or_else(refused), Some(name))
}

/// Longer URLs are not found (a.4: 2,048 to 2,100).
const URL_MAX: usize = 2_048;

/// The tracking id and entity whose requests at once are counted; `None` for what is exempt (a.12). Metadata counts too.
pub(super) fn bucket(call: &Call) -> Option<(String, Entity)> {
    let segments = segments(call)?;
    let below_ticket = segments.get(2).and_then(|child| Entity::of_child_path(child));
    let entity = below_ticket.or_else(|| Entity::of_path(segments.first()?))?;
    Some((call.header("apiintegrationcode").unwrap_or_default().to_owned(), entity))
}

/// The fourth request at once (a.11).
pub(super) fn too_many_at_once(refusal: ThreadRefusal, tenant: &Tenant) -> Reply {
    let text = "Itgenatr005: the thread threshold for this object endpoint has been exceeded.";
    let shape = tenant.options.error_shape;
    match refusal {
        ThreadRefusal::TooManyRequests { retry_after } => {
            let reply = Reply::refusal(Refusal::new(429, "Too many concurrent requests."), shape);
            retry_after.map_or(reply.clone(), |seconds| reply.with("retry-after", seconds.to_string()))
        }
        ThreadRefusal::ByText { status } => Reply::refusal(Refusal::new(status, text), shape),
    }
}

/// What stands behind `…/v1.0/`; the version is written with either case.
fn segments(call: &Call) -> Option<Vec<&str>> {
    let (version, path) = call.path.strip_prefix(SERVICES)?.split_once('/')?;
    version.eq_ignore_ascii_case("v1.0").then(|| path.split('/').collect())
}

fn find(call: &Call) -> Checked<Endpoint> {
    let segments = segments(call).ok_or_else(|| Refusal::no_path(call))?;
    if let Some(endpoint) = Endpoint::find(&call.method, &segments) {
        return Ok(endpoint);
    }
    let others = [Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE];
    // The root of Tickets answers 405 to GET; the root of TicketNotes, which no method knows, 404 to all (a.3).
    let known_path = others.iter().any(|method| Endpoint::find(method, &segments).is_some());
    Err(if known_path { Refusal::method(&call.method) } else { Refusal::no_path(call) })
}

/// Zone and version information: for anybody, on any zone, in any case, and not counted (a.1).
fn discovery(tenant: &Tenant, zones: &[ZoneAddress], call: &Call) -> Option<Outcome> {
    let path = call.path.to_ascii_lowercase();
    match (&call.method, path.strip_prefix(&SERVICES.to_ascii_lowercase())?) {
        (&Method::GET, "versioninformation") => Some(Ok(Reply::json(json!({"apiVersions": ["1.0"]})))),
        (&Method::GET, "v1.0/zoneinformation") => Some(zone_information(tenant, zones, call)),
        _ => None,
    }
}

fn zone_information(tenant: &Tenant, zones: &[ZoneAddress], call: &Call) -> Outcome {
    let user = call.query("user").unwrap_or_default();
    if !tenant.users.iter().any(|known| known.user_name.eq_ignore_ascii_case(user)) {
        // Not a 404 (a.1); the text is ours.
        return Err(Refusal::invalid("The zone of the user could not be found."));
    }
    let zone = &zones[tenant.zone];
    Ok(Reply::json(json!({
        "zoneName": format!("Simulated Zone {}", tenant.zone + 1),
        "url": zone.services,
        "webUrl": zone.web,
        "ci": 30_595,
    })))
}

/// Wrong credentials and the right ones on a zone the tenant does not live in look the same (a.1, a.2).
fn authenticate(tenant: &Tenant, zone: usize, call: &Call) -> Checked<ApiUser> {
    let given = |name: &str| call.header(name).unwrap_or_default();
    let user = tenant.users.iter().find(|user| {
        user.user_name.eq_ignore_ascii_case(given("username"))
            && user.secret == given("secret")
            && user.integration_code == given("apiintegrationcode")
    });
    user.filter(|_| zone == tenant.zone).cloned().ok_or_else(|| Refusal::new(401, "Authentication failed."))
}

/// Counts the request in the rolling hour; from half of the threshold on answers come later, which moves the tenant's clock (a.12).
fn admit(tenant: &mut Tenant) -> Checked<()> {
    let now = tenant.now();
    let threshold = tenant.options.request_threshold;
    let count = tenant.requests.within_the_hour(now);
    if count >= threshold {
        return Err(Refusal::new(429, "The request threshold of this database has been exceeded."));
    }
    tenant.requests.add(now, 1);
    let slower: Duration = slowness(count, threshold);
    tenant.clock_ahead += slower;
    tenant.slowed_by += slower;
    Ok(())
}

fn permit(tenant: &Tenant, user: &ApiUser, endpoint: Endpoint, call: &Call) -> Checked<Author> {
    let author = Author { resource: user.resource_id, impersonator: None, may_set_work_type: user.may_set_work_type };
    let impersonated = call.header("impersonationresourceid");
    let Some((entity, right)) = endpoint.right() else {
        return Ok(author);
    };
    let denied = |status: u16| {
        let right = right.name();
        Err(Refusal::new(status, format!("The logged in Resource does not have the adequate permissions to {right} this entity type.")))
    };
    if user.denied.contains(&(entity, right)) {
        return denied(user.denial_status);
    }
    match impersonated {
        None => Ok(author),
        // On creates only, and only where both sides allow it (a.9).
        Some(resource) => match resource.parse().ok().filter(|id| tenant.is_active(Entity::Resources, *id)) {
            Some(resource) if right == Right::Create && user.may_impersonate.contains(&entity) => {
                Ok(Author { resource, impersonator: Some(user.resource_id), ..author })
            }
            _ => denied(500),
        },
    }
}

fn show(tenant: &Tenant, entity: Entity, id: i64, ticket: Option<i64>) -> Outcome {
    let record = tenant.get(entity, id).filter(|record| ticket.is_none_or(|ticket| integer(record, "ticketID") == Some(ticket)));
    let shown = tenant.shown(entity, record.ok_or_else(Refusal::no_record)?);
    Ok(Reply::json(json!({ "item": Value::Object(shown) })))
}

fn information(user: &ApiUser, entity: Entity) -> Reply {
    let can = |right: Right| match right {
        Right::Query => true,
        Right::Create => {
            matches!(entity, Entity::TicketAdditionalConfigurationItems | Entity::TicketNotes | Entity::Tickets | Entity::TimeEntries)
        }
        Right::Update => matches!(entity, Entity::TicketNotes | Entity::Tickets | Entity::TimeEntries),
        Right::Delete => entity == Entity::TimeEntries,
    };
    let access = |right: Right| if can(right) && !user.denied.contains(&(entity, right)) { "All" } else { "None" };
    Reply::json(json!({"info": {
        "name": entity.singular(),
        "canCreate": can(Right::Create),
        "canDelete": can(Right::Delete),
        "canQuery": can(Right::Query),
        "canUpdate": can(Right::Update),
        "hasUserDefinedFields": entity.has_user_defined_fields(),
        "userAccessForCreate": access(Right::Create),
        "userAccessForDelete": access(Right::Delete),
        "userAccessForQuery": access(Right::Query),
        "userAccessForUpdate": access(Right::Update),
        "supportsWebhookCallouts": matches!(
            entity,
            Entity::Companies | Entity::ConfigurationItems | Entity::Contacts | Entity::TicketNotes | Entity::Tickets
        ),
    }}))
}

/// Files are read as `AttachmentInfo`, which nobody may create, and added as `TicketAttachments`.
fn attachment_information(user: &ApiUser) -> Reply {
    let may = !user.denied.contains(&(Entity::AttachmentInfo, Right::Create));
    Reply::json(json!({"info": {
        "name": "TicketAttachment",
        "canCreate": true,
        "canDelete": false,
        "canQuery": true,
        "canUpdate": false,
        "hasUserDefinedFields": false,
        "userAccessForCreate": if may { "All" } else { "None" },
        "userAccessForDelete": "None",
        "userAccessForQuery": "All",
        "userAccessForUpdate": "None",
        "supportsWebhookCallouts": false,
    }}))
}

fn threshold(tenant: &mut Tenant) -> Reply {
    let now = tenant.now();
    Reply::json(json!({
        "externalRequestThreshold": tenant.options.request_threshold,
        "requestThresholdTimeframe": 60,
        "currentTimeframeRequestCount": tenant.requests.within_the_hour(now),
    }))
}
