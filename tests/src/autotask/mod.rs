//! A simulated Autotask tenant: the REST API in several zones, and the ticket page of the web application.
//!
//! Tests and the demo start it in their own process and steer it by [`SimulatedAutotask`]. It is strict: what the real tenant refuses
//! it refuses, in the real words where those are known; misspelt names, which the real one overlooks, it refuses too. An unknown
//! query operator it overlooks like the real one, because that is the trap. Facts are from `autotask-extension.md`; section letters
//! stand in the comments. It must never be reachable from another machine: its web pages know no sign-in.

mod api;
mod attachments;
mod call;
mod delivery;
mod limits;
mod notes;
mod pages;
mod query;
mod sample;
mod schema;
mod snapshots;
mod tenant;
mod tickets;
mod time_entries;
mod times;
mod web_server;
mod writing;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::http::Method;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::wire::{Fault, Matching, RecordedRequest};
pub use api::SERVICES;
pub use attachments::FILE_MAX;
pub use call::ErrorShape;
pub use delivery::AutotaskDesk;
pub use limits::{ATTACHED_MAX, ATTACHING_TIME, CONCURRENT_MAX};
pub use pages::TicketPage;
pub use sample::{CATEGORY_INCIDENT, PRIORITY_MEDIUM, QUEUE, STATUS_NEW, SampleData};
pub use schema::{Entity, Record};
pub use snapshots::{Attachment, Note, TimeEntry};
pub use tenant::{ApiUser, Choice, Right};

use crate::wire::{Line, locked};
use limits::InFlight;
use tenant::Tenant;
use web_server::Door;

/// Path of every REST call, for [`Matching::path_prefix`]: `REST` + `Tickets/`.
pub const REST: &str = "/ATServicesRest/v1.0/";

/// What the fourth request at once is answered (autotask-extension.md a.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadRefusal {
    /// 429.
    TooManyRequests {
        /// Seconds for `Retry-After`, which is not always there.
        retry_after: Option<u64>,
    },
    /// Another status, with a text that has `Itgenatr005` in it.
    ByText {
        /// Status code.
        status: u16,
    },
}

/// System settings of the tenant that change what is refused.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A default or a service level gives new tickets their due date; else a ticket must bring one (a.5).
    pub supplies_due_date: bool,
    /// Ticket categories that make `queueID` required even for an assigned ticket (a.5).
    pub categories_with_queue: Vec<i64>,
    /// "Require titles on ticket notes" (a.6).
    pub note_titles_required: bool,
    /// Whether there are co-managed notes: `publish` 4.
    pub co_managed: bool,
    /// Time entries of tickets need start and end (a.7).
    pub tickets_need_times: bool,
    /// "Allow time entries to span over midnight", in UTC (a.7).
    pub time_over_midnight: bool,
    /// Whether time may be entered for others (a.7).
    pub proxy_time_entries: bool,
    /// File name endings that may be attached, in lower case (a.10).
    pub file_types: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let file_types = ["csv", "gif", "htm", "html", "jpeg", "jpg", "json", "log", "pdf", "png", "txt", "xml", "zip"];
        Self {
            supplies_due_date: false,
            categories_with_queue: vec![CATEGORY_INCIDENT],
            note_titles_required: true,
            co_managed: false,
            tickets_need_times: true,
            time_over_midnight: false,
            proxy_time_entries: true,
            file_types: file_types.map(str::to_owned).to_vec(),
        }
    }
}

/// What a tenant is like when it starts; everything but ports, zones and the API user can be altered later.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port of the first zone's services on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// How many zones there are.
    pub zones: usize,
    /// The one the tenant lives in, counted from 0.
    pub home_zone: usize,
    /// The first API user.
    pub api_user: ApiUser,
    /// System settings.
    pub settings: Settings,
    /// How errors are worded.
    pub error_shape: ErrorShape,
    /// What the fourth request at once is answered.
    pub thread_refusal: ThreadRefusal,
    /// Requests in an hour.
    pub request_threshold: usize,
    /// Added to every answer.
    pub latency: Duration,
    /// The ticket page.
    pub ticket_page: TicketPage,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            zones: 2,
            home_zone: 0,
            api_user: ApiUser::default(),
            settings: Settings::default(),
            error_shape: ErrorShape::default(),
            thread_refusal: ThreadRefusal::TooManyRequests { retry_after: None },
            request_threshold: 10_000,
            latency: Duration::ZERO,
            ticket_page: TicketPage::default(),
        }
    }
}

/// Where a zone can be reached.
#[derive(Clone, Debug)]
struct ZoneAddress {
    /// `http://127.0.0.1:PORT/ATServicesRest/`
    services: String,
    /// `http://127.0.0.1:OTHER-PORT/`
    web: String,
}

/// State that connections and handles share.
#[derive(Debug)]
struct Shared {
    zones: Vec<ZoneAddress>,
    tenant: Mutex<Tenant>,
    in_flight: Mutex<InFlight>,
    line: Line,
}

impl Shared {
    fn tenant(&self) -> MutexGuard<'_, Tenant> {
        locked(&self.tenant)
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        locked(&self.in_flight)
    }
}

/// 128 random bits in hexadecimal.
#[expect(clippy::disallowed_methods, reason = "an outside system makes its own ids")]
fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A running tenant. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone, Debug)]
pub struct SimulatedAutotask {
    shared: Arc<Shared>,
    _guard: Arc<DropGuard>,
}

impl SimulatedAutotask {
    /// Starts a tenant with one API user and nothing else. Fails when the port is taken.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        ensure!(options.home_zone < options.zones, "zone {} of {}", options.home_zone, options.zones);
        let mut zones = Vec::new();
        let mut listeners = Vec::new();
        for zone in 0..options.zones {
            let (services, services_origin) = listen(if zone == 0 { options.port } else { 0 }).await?;
            let (web, web_origin) = listen(0).await?;
            zones.push(ZoneAddress { services: format!("{services_origin}{SERVICES}"), web: format!("{web_origin}/") });
            listeners.extend([(services, Door::Services(zone)), (web, Door::Web(zone))]);
        }
        let stop = CancellationToken::new();
        let user = options.api_user.clone();
        let mut tenant = Tenant::new(options, sample::picklists());
        tenant.options.api_user.resource_id = tenant.add_user(user);
        let shared = Arc::new(Shared { zones, tenant: Mutex::new(tenant), in_flight: Mutex::default(), line: Line::until(stop.clone()) });
        for (listener, door) in listeners {
            let answering = Arc::clone(&shared);
            shared.line.open(listener, move |request| web_server::answer(Arc::clone(&answering), door, request));
        }
        Ok(Self { shared, _guard: Arc::new(stop.drop_guard()) })
    }

    /// Closes the listeners and every connection, and waits until they are.
    pub async fn stop(&self) {
        self.shared.line.end().await;
    }

    // Zones

    /// The services of the zone the tenant lives in now: `http://127.0.0.1:PORT/ATServicesRest/`.
    pub fn url(&self) -> String {
        let zone = self.shared.tenant().zone;
        self.zone_url(zone).to_owned()
    }

    /// The server's `[autotask]` for this tenant and its API user, as text that more keys may follow.
    pub fn section(&self) -> String {
        let ApiUser { user_name, secret, integration_code, .. } = self.options().api_user;
        let url = self.url();
        format!(
            "[autotask]\nusername = \"{user_name}\"\nsecret = \"{secret}\"\nintegration_code = \"{integration_code}\"\nservices_url = \"{url}\""
        )
    }

    /// The services of any zone; discovery works on each.
    pub fn zone_url(&self, zone: usize) -> &str {
        &self.shared.zones[zone].services
    }

    /// The web application of the zone the tenant lives in now: `http://127.0.0.1:PORT/`.
    pub fn web_url(&self) -> String {
        let zone = self.shared.tenant().zone;
        self.shared.zones[zone].web.clone()
    }

    /// The ticket page (c.2).
    pub fn ticket_page(&self, ticket: i64) -> String {
        format!("{}Mvc/ServiceDesk/TicketDetail.mvc?workspace=False&ticketId={ticket}", self.web_url())
    }

    /// Moves the tenant: the old zone answers 401 from now on.
    pub fn move_to_zone(&self, zone: usize) {
        assert!(zone < self.shared.zones.len(), "there is no zone {zone}");
        self.write(|tenant| tenant.zone = zone);
    }

    // People, settings, records

    /// The options as they are now.
    pub fn options(&self) -> Options {
        self.shared.tenant().options.clone()
    }

    /// Changes settings, error shape, limits, latency, the ticket page.
    pub fn alter(&self, change: impl FnOnce(&mut Options)) {
        self.write(|tenant| change(&mut tenant.options));
    }

    /// Adds an API user; gives the id of his own record.
    pub fn add_api_user(&self, user: ApiUser) -> i64 {
        self.write(|tenant| tenant.add_user(user))
    }

    /// Changes an API user by name; `None` when there is none.
    pub fn alter_api_user<T>(&self, user_name: &str, change: impl FnOnce(&mut ApiUser) -> T) -> Option<T> {
        self.write(|tenant| tenant.users.iter_mut().find(|user| user.user_name == user_name).map(change))
    }

    /// Replaces the choices of a field.
    pub fn set_picklist(&self, entity: Entity, field: &'static str, choices: Vec<Choice>) {
        self.write(|tenant| tenant.picklists.insert((entity, field), choices));
    }

    /// Adds a user-defined field of texts to companies, contacts, configuration items or tickets.
    pub fn add_user_defined_field(&self, entity: Entity, name: &str) {
        self.write(|tenant| tenant.user_defined_fields.entry(entity).or_default().push(name.to_owned()));
    }

    /// Two companies, a contact, two devices, a technician with a role, work types and a ticket. Fails when called twice.
    pub fn fill_sample_data(&self) -> anyhow::Result<SampleData> {
        ensure!(self.record(Entity::Companies, 0).is_none(), "there is sample data already");
        self.write(sample::fill)
    }

    /// Adds a record as somebody who works in the web pages: no rule applies, but fields must be spelt as in answers. Gives the id.
    pub fn add(&self, entity: Entity, fields: Value) -> anyhow::Result<i64> {
        self.write(|tenant| tenant.add(entity, fields))
    }

    /// Changes a record in the same way; null clears a field. Fails when there is no such record.
    pub fn alter_record(&self, entity: Entity, id: i64, fields: Value) -> anyhow::Result<()> {
        self.write(|tenant| {
            let record = tenant.get_mut(entity, id).with_context(|| format!("there is no {} {id}", entity.path()))?;
            record.extend(tenant::spelt(entity, fields)?);
            Ok(())
        })
    }

    /// A record as it is now; fields never set are missing.
    pub fn record(&self, entity: Entity, id: i64) -> Option<Record> {
        self.shared.tenant().get(entity, id).cloned()
    }

    /// All records of an entity, by id.
    pub fn records(&self, entity: Entity) -> Vec<Record> {
        self.shared.tenant().all(entity).cloned().collect()
    }

    /// The notes of a ticket, oldest first.
    pub fn notes(&self, ticket: i64) -> Vec<Note> {
        snapshots::notes(&self.shared.tenant(), ticket)
    }

    /// The time entries of a ticket, oldest first.
    pub fn time_entries(&self, ticket: i64) -> Vec<TimeEntry> {
        snapshots::time_entries(&self.shared.tenant(), ticket)
    }

    /// The files of a ticket, oldest first.
    pub fn attachments(&self, ticket: i64) -> Vec<Attachment> {
        snapshots::attachments(&self.shared.tenant(), ticket)
    }

    // The wire

    /// The next `times` matching requests fail so. Faults ordered earlier are used up first.
    pub fn fail_next(&self, times: u32, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(Some(times.max(1)), matching, fault);
    }

    /// All matching requests fail so until [`SimulatedAutotask::clear_faults`].
    pub fn fail_always(&self, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(None, matching, fault);
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.shared.line.faults().clear();
    }

    /// The next `times` updates of tickets are answered with 200 and change nothing (a.3).
    pub fn ignore_ticket_updates(&self, times: u32) {
        self.write(|tenant| tenant.patches_to_ignore = times);
    }

    /// Requests on an entity being answered now, by all tracking ids.
    pub fn in_flight(&self, entity: Entity) -> usize {
        self.shared.in_flight().of(entity)
    }

    /// Counts so many requests of other integrations in the current hour.
    pub fn use_up_requests(&self, count: usize) {
        self.write(|tenant| {
            let now = tenant.now();
            tenant.requests.add(now, count);
        });
    }

    /// By how much all answers together would have come later because of the hour's threshold; only the tenant's clock moved.
    pub fn slowed_by(&self) -> time::Duration {
        self.shared.tenant().slowed_by
    }

    /// Moves the tenant's clock on: limits reset, ticket numbers get a new day.
    pub fn advance_clock(&self, by: Duration) {
        self.write(|tenant| tenant.clock_ahead += by);
    }

    /// The tenant's clock.
    pub fn now(&self) -> OffsetDateTime {
        self.shared.tenant().now()
    }

    /// Requests so far to all zones, oldest first; the latest 20,000 are kept. `user` is the `UserName` header of a call whose
    /// credentials were accepted; the `Secret` header is not kept.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.line.journal().all()
    }

    /// How many requests had this method and a path that begins so.
    pub fn count(&self, method: &Method, path_prefix: &str) -> usize {
        self.shared.line.journal().count(method, path_prefix)
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.line.journal().clear();
    }

    /// How many writes are still to happen later, as faults ordered it.
    pub fn pending_writes(&self) -> usize {
        self.shared.line.pending_writes()
    }

    // Waiting

    /// The first note of the ticket that `wanted` accepts, waiting for it up to a minute.
    pub async fn wait_for_note(&self, ticket: i64, wanted: impl Fn(&Note) -> bool) -> anyhow::Result<Note> {
        self.wait_until(|autotask| autotask.notes(ticket).into_iter().find(&wanted)).await.with_context(|| {
            let seen: Vec<String> = self.notes(ticket).into_iter().map(|note| note.title).collect();
            format!("no such note on ticket {ticket}, which has {seen:?}")
        })
    }

    /// The first time entry of the ticket that `wanted` accepts, waiting for it up to a minute.
    pub async fn wait_for_time_entry(&self, ticket: i64, wanted: impl Fn(&TimeEntry) -> bool) -> anyhow::Result<TimeEntry> {
        self.wait_until(|autotask| autotask.time_entries(ticket).into_iter().find(&wanted))
            .await
            .with_context(|| format!("no such time entry on ticket {ticket}, which has {:?}", self.time_entries(ticket)))
    }

    /// Waits up to a minute until so many requests had this method and a path that begins so.
    pub async fn wait_for_requests(&self, method: &Method, path_prefix: &str, at_least: usize) -> anyhow::Result<()> {
        self.wait_until(|autotask| (autotask.count(method, path_prefix) >= at_least).then_some(()))
            .await
            .with_context(|| format!("fewer than {at_least} times {method} {path_prefix}"))
    }

    /// Asks `probe` after every request and every change until it finds something, up to a minute.
    pub async fn wait_until<T>(&self, probe: impl Fn(&Self) -> Option<T>) -> anyhow::Result<T> {
        self.shared.line.wait_until(|| probe(self)).await
    }

    fn write<T>(&self, change: impl FnOnce(&mut Tenant) -> T) -> T {
        let result = change(&mut self.shared.tenant());
        self.shared.line.changed();
        result
    }
}

async fn listen(port: u16) -> anyhow::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| format!("listening on 127.0.0.1:{port}"))?;
    let origin = format!("http://{}", listener.local_addr()?);
    Ok((listener, origin))
}
