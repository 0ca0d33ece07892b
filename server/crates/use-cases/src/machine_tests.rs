//! Which machines an agent is shown, and who ends a link: with an engine that answers as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use deskbridge_core::clock::Clock;
use deskbridge_core::ids::{ConnectionId, TenantId};
use deskbridge_core::settings::Settings;
use deskbridge_help_desks::AgentReference;
use deskbridge_remote_support::{EngineFault, Error, Machine};
use deskbridge_shared::api::{JumpMethod, JumpRequest, MachineList, MachineState};
use deskbridge_store::NewHelpTicket;
use uuid::Uuid;

use crate::connections::{Builder, Connection, sections};
use crate::machines::Wanted;
use crate::testing::{Engine, HelpDesk, NOW, services};
use crate::{NotOffered, Services, SupportError, ValueFault, jump, machines};

const SETTINGS: &str = "[[connection]]\nname = \"a\"\n[connection.osticket]\nurl = \"https://hilfe.example.com\"";
const TICKET: &str = "88121";

struct Scene {
    services: Arc<Services>,
    now: Arc<AtomicI64>,
    connection: Arc<Connection>,
    engine: Arc<Engine>,
}

fn machine(name: &str, state: MachineState) -> Machine {
    Machine { id: format!("node//{name}"), name: name.into(), state, person: None, other_names: Vec::new() }
}

async fn scene(machines: Vec<Machine>) -> Scene {
    scene_with(machines, None).await
}

async fn scene_with(machines: Vec<Machine>, help_desk: Option<Arc<HelpDesk>>) -> Scene {
    let now = Arc::new(AtomicI64::new(NOW));
    let store = deskbridge_store::open("sqlite::memory:").await.unwrap();
    let services = services(&store, &Clock::Manual(now.clone()));
    let settings = Settings::parse(sections(), "test.toml", SETTINGS, std::iter::empty()).unwrap().connection.remove(0);
    let id = ConnectionId::from(Uuid::from_u128(1));
    let mut connection = Builder::new(&services.master_key).build(id, TenantId::main(), settings).unwrap();
    let engine = Engine::new("mesh.example.com/~t:1");
    *engine.machines.lock().unwrap() = Some(machines);
    connection.engine = Some(engine.clone());
    if let Some(help_desk) = help_desk {
        connection.help_desk = help_desk;
    }
    let connection = Arc::new(connection);
    services.connections.set(std::slice::from_ref(&connection), &[]);
    Scene { services, now, connection, engine }
}

fn agent() -> AgentReference {
    AgentReference::Device { id: Uuid::from_u128(7), name: "Jane D.".to_owned(), email: None }
}

impl Scene {
    async fn list(&self, ticket: &str, wanted: Wanted<'_>) -> Result<MachineList, SupportError> {
        machines::of_ticket(&self.services, &self.connection, &agent(), ticket, wanted).await
    }

    /// Names in their order; those suggested with a star.
    async fn names(&self, ticket: &str, search: Option<&str>, target: Option<&str>) -> Vec<String> {
        let list = self.list(ticket, Wanted { search: search.unwrap_or_default(), target: target.unwrap_or_default() }).await.unwrap();
        let name = |machine: deskbridge_shared::api::Machine| machine.name + if machine.suggested { "*" } else { "" };
        list.machines.into_iter().map(name).collect()
    }

    async fn launch(&self, ticket: &str, name: &str) -> Result<String, SupportError> {
        let request = JumpRequest::new(JumpMethod::Desktop, format!("node//{name}"));
        let launch = jump::launch(&self.services, &self.connection, &agent(), ticket, &request).await?;
        Ok(launch.link.expect("a link").id)
    }

    async fn end(&self, ticket: &str, link: &str) -> Result<(), SupportError> {
        machines::end_link(&self.services, &self.connection, &agent(), ticket, link).await
    }

    async fn links(&self, ticket: &str) -> Vec<String> {
        self.list(ticket, Wanted::default()).await.unwrap().links.into_iter().map(|link| link.id).collect()
    }

    fn ended(&self) -> Vec<String> {
        self.engine.ended_links.lock().unwrap().iter().map(|link| link.id.clone()).collect()
    }
}

#[tokio::test]
async fn machines_stand_by_state_and_name() {
    let scene = scene(vec![
        machine("attic", MachineState::Offline),
        machine("Zoo", MachineState::Online),
        machine("front desk", MachineState::InUse),
        machine("bar", MachineState::Online),
        machine("attic 2", MachineState::Offline),
    ])
    .await;
    assert_eq!(scene.names(TICKET, None, None).await, ["bar", "Zoo", "front desk", "attic", "attic 2"]);
    let stranger = AgentReference::User("7".to_owned());
    let refused = machines::of_ticket(&scene.services, &scene.connection, &stranger, TICKET, Wanted::default()).await;
    assert!(matches!(refused, Err(SupportError::HelpDesk(_))), "the help desk does not let them work on the ticket");
}

#[tokio::test]
async fn the_tickets_machine_stands_first() {
    let named = |name: &str, other: &str| Machine { other_names: vec![other.into()], ..machine(name, MachineState::Offline) };
    let scene =
        scene(vec![machine("bar", MachineState::Online), named("LAPTOP-0042", "10.0.0.5"), named("Front desk", "fd.corp.example")]).await;
    for (target, first) in [
        ("laptop-0042", "LAPTOP-0042*"),
        (" LAPTOP-0042.corp.example ", "LAPTOP-0042*"),
        ("10.0.0.5", "LAPTOP-0042*"),
        ("FD", "Front desk*"),
        ("fd.corp.example", "Front desk*"),
        ("fd.other.example", "bar"),
        ("10", "bar"),
        ("LAPTOP", "bar"),
        ("front", "bar"),
        ("", "bar"),
        (".corp.example", "bar"),
    ] {
        assert_eq!(scene.names(TICKET, None, Some(target)).await[0], first, "{target}");
    }
}

#[tokio::test]
async fn a_machine_that_the_ticket_has_used_is_suggested() {
    let scene = scene(vec![machine("bar", MachineState::Online), machine("Zoo", MachineState::Online)]).await;
    let link = scene.launch(TICKET, "Zoo").await.unwrap();
    assert_eq!(scene.names(TICKET, None, None).await, ["Zoo*", "bar"]);
    assert_eq!(scene.names("88122", None, None).await, ["bar", "Zoo"], "another ticket has not");
    assert_eq!(scene.names(TICKET, Some("bar"), None).await, ["Zoo*", "bar"], "a link can be ended whatever is searched for");
    scene.end(TICKET, &link).await.unwrap();
    assert_eq!(scene.names(TICKET, Some("bar"), None).await, ["bar"]);
    assert_eq!(scene.names(TICKET, None, None).await, ["Zoo*", "bar"], "it is remembered");
}

/// The merged ticket's number leads to the other one: nobody could end its links otherwise.
#[tokio::test]
async fn a_ticket_has_the_links_and_machines_of_those_merged_into_it() {
    let help_desk = HelpDesk::new();
    let scene = scene_with(vec![machine("bar", MachineState::Online), machine("Zoo", MachineState::Online)], Some(help_desk.clone())).await;
    let before = scene.launch("7", "Zoo").await.unwrap();
    scene.now.fetch_add(1_000, Ordering::SeqCst);
    let own = scene.launch("9", "Zoo").await.unwrap();
    *help_desk.merged.lock().unwrap() = vec![("7", "8"), ("6", "8")];
    assert_eq!(scene.names("8", None, None).await, ["Zoo*", "bar"]);
    assert_eq!(scene.links("8").await, std::slice::from_ref(&before));
    *help_desk.merged.lock().unwrap() = vec![("7", "10"), ("9", "10")];
    assert_eq!(scene.links("10").await, [before.clone(), own.clone()], "the latest last");
    assert!(matches!(scene.end("11", &before).await, Err(SupportError::NoSuchLink)), "of another ticket");
    scene.end("10", &before).await.unwrap();
    assert_eq!((scene.ended(), scene.links("10").await), (vec![before], vec![own]));
}

/// From the first look on: no link was made yet.
#[tokio::test]
async fn the_machine_that_asked_for_help_is_suggested() {
    let scene = scene(vec![machine("bar", MachineState::Online), machine("Zoo", MachineState::Offline)]).await;
    let (tenant, connection) = (TenantId::main(), scene.connection.id);
    let new = NewHelpTicket { tenant: &tenant, connection, request: "1", machine: "node//Zoo", asked_at: NOW };
    scene.services.store.begin_help_ticket(&new, None).await.unwrap();
    assert_eq!(scene.names(TICKET, None, None).await, ["bar", "Zoo"]);
    scene.services.store.help_ticket_made(connection, "1", TICKET).await.unwrap();
    assert_eq!(scene.names(TICKET, None, None).await, ["Zoo*", "bar"]);
    assert_eq!(scene.names("88122", None, None).await, ["bar", "Zoo"], "another ticket");
}

#[tokio::test]
async fn every_word_of_a_search_must_be_found() {
    let mut office = machine("OFFICE-1", MachineState::Online);
    office.person = Some("Tom Miller".into());
    office.other_names = vec!["office-1.corp.example".into(), "10.0.0.5".into()];
    let scene = scene(vec![office, machine("OFFICE-2", MachineState::Online)]).await;
    let find = async |search| scene.names(TICKET, Some(search), None).await.len();
    for (search, count) in [("", 2), ("office", 2), (" office  tom", 1), ("MILLER", 1), ("0.0.5", 1), ("office-3", 0), ("2 tom", 0)] {
        assert_eq!(find(search).await, count, "{search}");
    }
    let long = "x".repeat(101);
    let refused = scene.list(TICKET, Wanted { search: &long, target: "" }).await;
    assert!(matches!(refused, Err(SupportError::Invalid { fault: ValueFault::TooLong(100), .. })));
}

#[tokio::test]
async fn no_more_than_fifty_are_listed_and_that_is_told() {
    let many = |count: usize| (0..count).map(|number| machine(&format!("M{number:02}"), MachineState::Online)).collect();
    let scene = scene(many(51)).await;
    let list = scene.list(TICKET, Wanted { search: "", target: "M50" }).await.unwrap();
    assert_eq!((list.machines.len(), list.more, list.machines[0].name.as_str()), (50, true, "M50"));
    *scene.engine.machines.lock().unwrap() = Some(many(50));
    let list = scene.list(TICKET, Wanted::default()).await.unwrap();
    assert_eq!((list.machines.len(), list.more), (50, false));
}

#[tokio::test]
async fn machines_that_cannot_be_read_are_a_fault_and_none_where_none_are_listed() {
    let scene = scene(Vec::new()).await;
    *scene.engine.fails.lock().unwrap() = Some(Error::new(EngineFault::Unreachable, "gone"));
    assert!(matches!(scene.list(TICKET, Wanted::default()).await, Err(SupportError::Engine(_))));
    *scene.engine.machines.lock().unwrap() = None;
    let refused = scene.list(TICKET, Wanted::default()).await;
    assert!(matches!(refused, Err(SupportError::NotOffered { why: NotOffered::Machines, .. })));
}

#[tokio::test]
async fn a_link_is_kept_until_it_is_ended_or_expires() {
    let scene = scene(vec![machine("bar", MachineState::Online)]).await;
    let first = scene.launch(TICKET, "bar").await.unwrap();
    scene.now.fetch_add(1, Ordering::SeqCst);
    let second = scene.launch(TICKET, "bar").await.unwrap();
    let list = scene.list(TICKET, Wanted::default()).await.unwrap();
    let link = &list.links[0];
    let shown = (link.id.as_str(), link.machine.as_str(), link.machine_name.as_str(), link.method, link.agent.as_deref());
    assert_eq!(shown, (first.as_str(), "node//bar", "bar", JumpMethod::Desktop, Some("Jane D.")));
    assert_eq!(link.expires_at.as_deref(), Some("2024-12-03T16:41:07Z"));
    assert_eq!(scene.links(TICKET).await, [first.as_str(), second.as_str()], "the latest last");
    assert!(scene.links("88122").await.is_empty());

    assert!(matches!(scene.end("88122", &first).await, Err(SupportError::NoSuchLink)), "another ticket's");
    assert!(matches!(scene.end(TICKET, "x").await, Err(SupportError::NoSuchLink)));
    *scene.engine.fails.lock().unwrap() = Some(Error::new(EngineFault::Unreachable, "gone"));
    assert!(matches!(scene.end(TICKET, &first).await, Err(SupportError::Engine(_))));
    *scene.engine.fails.lock().unwrap() = None;
    assert_eq!(scene.links(TICKET).await.len(), 2, "it may be good yet");
    scene.end(TICKET, &first).await.unwrap();
    scene.end(TICKET, &first).await.unwrap();
    assert_eq!((scene.ended(), scene.links(TICKET).await), (vec![first], vec![second.clone()]), "once");

    scene.now.fetch_add(3_600_000, Ordering::SeqCst);
    assert!(scene.links(TICKET).await.is_empty());
    scene.end(TICKET, &second).await.unwrap();
    assert_eq!(scene.ended().len(), 1, "it has ended by itself");
}

#[tokio::test]
async fn a_machine_that_the_account_has_lost_is_listed_while_there_is_a_link_to_it() {
    let scene = scene(vec![machine("bar", MachineState::Online), machine("Zoo", MachineState::Online)]).await;
    let link = scene.launch(TICKET, "Zoo").await.unwrap();
    scene.launch(TICKET, "Zoo").await.unwrap();
    *scene.engine.machines.lock().unwrap() = Some(vec![machine("bar", MachineState::Online)]);
    assert_eq!(scene.names(TICKET, None, None).await, ["Zoo*", "bar"], "once for both links");
    let list = scene.list(TICKET, Wanted { search: "attic", ..Wanted::default() }).await.unwrap();
    let lost: Vec<_> = list.machines.iter().map(|machine| (machine.id.as_str(), machine.state)).collect();
    assert_eq!(lost, [("node//Zoo", MachineState::Unavailable)], "whatever is searched for");
    assert_eq!(scene.names("88122", None, None).await, ["bar"], "another ticket has no link");
    scene.end(TICKET, &link).await.unwrap();
    assert_eq!(scene.names(TICKET, None, None).await, ["Zoo*", "bar"], "there is another link");
    scene.now.fetch_add(3_600_000, Ordering::SeqCst);
    assert_eq!(scene.names(TICKET, None, None).await, ["bar"]);
}

#[tokio::test]
async fn a_link_that_cannot_be_kept_is_not_given_out() {
    let scene = scene(vec![machine("bar", MachineState::Online)]).await;
    *scene.engine.link_name.lock().unwrap() = Some("twice".into());
    scene.launch(TICKET, "bar").await.unwrap();
    assert!(matches!(scene.launch(TICKET, "bar").await, Err(SupportError::Store(_))));
    assert_eq!(scene.ended(), ["twice"]);
}
