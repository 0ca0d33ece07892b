//! The machines an agent can open from a ticket, the ticket's own first, and the links that were made to them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use deskbridge_core::clock::rfc3339;
use deskbridge_help_desks::AgentReference;
use deskbridge_remote_support::{LinkId, Machine as EngineMachine};
use deskbridge_shared::api::{JumpMethod, Machine, MachineLink, MachineList, MachineState};
use deskbridge_store::MachineLink as StoredLink;

use crate::connections::Connection;
use crate::ticket_access::TicketAccess;
use crate::{NotOffered, Services, SupportError, ValueFault, ticket_access};

/// Machines in one answer; a search finds others.
const MOST: usize = 50;
/// Machines that were opened from this ticket before and are shown first.
const MOST_FORMER: i64 = 10;
/// Longest search, in characters.
pub const SEARCH_LIMIT: usize = 100;

/// What an agent looks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Words, each of which stands in a name, a host name, an address, or the name of who is signed in.
    pub search: &'a str,
    /// What the ticket's page calls its machine, where only the page knows.
    pub target: &'a str,
}

/// The machines for `ticket`, and its links that can still be used, the latest last.
pub async fn of_ticket(
    services: &Services,
    connection: &Arc<Connection>,
    agent: &AgentReference,
    ticket: &str,
    wanted: Wanted<'_>,
) -> Result<MachineList, SupportError> {
    if wanted.search.chars().count() > SEARCH_LIMIT {
        return Err(SupportError::invalid("search", ValueFault::TooLong(SEARCH_LIMIT), format!("at most {SEARCH_LIMIT} characters")));
    }
    let access = ticket_access::check(connection, agent, ticket).await?;
    let engine = connection.engine.as_ref().filter(|engine| engine.abilities().machines).ok_or_else(no_machines)?;
    let (now, mut former, mut links) = (services.clock.now_ms(), Vec::new(), Vec::new());
    for ticket in access.ticket.ids() {
        former.extend(services.store.last_machines(connection.id, ticket, MOST_FORMER).await?);
        former.extend(services.store.machines_of_help(connection.id, ticket).await?);
        links.extend(services.store.links_of_ticket(connection.id, ticket, now).await?);
    }
    links.sort_by_key(|link| std::cmp::Reverse(link.made_at));
    let linked: HashSet<&str> = links.iter().map(|link| link.machine.as_str()).collect();
    let known = engine.machines().await?;
    let lost = lost(&known, &links);
    let (machines, more) = listed(known.iter().chain(&lost), &access, &former, &linked, wanted);
    let links = links.into_iter().rev().filter_map(|link| {
        Some(MachineLink {
            id: link.link_id,
            machine: link.machine,
            machine_name: link.machine_name,
            method: JumpMethod::from_name(&link.kind)?,
            agent: link.agent,
            expires_at: link.expires_at.map(rfc3339),
        })
    });
    Ok(MachineList { machines, more, links: links.collect() })
}

fn no_machines() -> SupportError {
    SupportError::not_offered(NotOffered::Machines, "this connection's remote-support system tells no machines")
}

/// Machines that the account has no more, and to which there are links.
fn lost(known: &[EngineMachine], links: &[StoredLink]) -> Vec<EngineMachine> {
    let mut lost: Vec<EngineMachine> = Vec::new();
    for link in links {
        if !known.iter().chain(&lost).any(|machine| machine.id == link.machine) {
            lost.push(EngineMachine {
                id: link.machine.clone(),
                name: link.machine_name.clone(),
                state: MachineState::Unavailable,
                person: None,
                other_names: Vec::new(),
            });
        }
    }
    lost
}

/// Those that fit the search, the ticket's own first, and whether there are more. One to which there is a link is the ticket's, and is listed
/// whatever is searched for, so that the link can be ended. `former`: those that the ticket was made for, or that were opened from it.
fn listed<'a>(
    all: impl Iterator<Item = &'a EngineMachine>,
    access: &TicketAccess,
    former: &[String],
    linked: &HashSet<&str>,
    wanted: Wanted<'_>,
) -> (Vec<Machine>, bool) {
    let former: HashSet<&str> = former.iter().map(String::as_str).chain(linked.iter().copied()).collect();
    let targets = [access.ticket.target.as_deref().unwrap_or_default(), wanted.target];
    let targets = targets.map(|target| target.trim().to_lowercase());
    let is_its = |machine: &EngineMachine| {
        let is_named = |name: &String| targets.iter().any(|target| is_same_name(target, &name.to_lowercase()));
        former.contains(machine.id.as_str()) || is_named(&machine.name) || machine.other_names.iter().any(is_named)
    };
    let words: Vec<String> = wanted.search.split_whitespace().map(str::to_lowercase).collect();
    let fits = |machine: &&'a EngineMachine| {
        if linked.contains(machine.id.as_str()) {
            return true;
        }
        let names = [Some(&machine.name), machine.person.as_ref()].into_iter().flatten().chain(&machine.other_names);
        let names: Vec<String> = names.map(|name| name.to_lowercase()).collect();
        words.iter().all(|word| names.iter().any(|name| name.contains(word.as_str())))
    };
    let mut found: Vec<Machine> = all
        .filter(fits)
        .map(|machine| Machine {
            id: machine.id.clone(),
            name: machine.name.clone(),
            state: machine.state,
            person: machine.person.clone(),
            suggested: is_its(machine),
        })
        .collect();
    found.sort_by_cached_key(|machine| (!machine.suggested, machine.state, machine.name.to_lowercase(), machine.id.clone()));
    let more = found.len() > MOST;
    found.truncate(MOST);
    (found, more)
}

/// Whether two names are one machine's. A host name may stand with its domain or without.
fn is_same_name(one: &str, other: &str) -> bool {
    !one.is_empty() && (one == other || host(one) == other || one == host(other))
}

/// A host name without its domain. An address, or a name with spaces, has none.
fn host(name: &str) -> &str {
    let is_host = name.parse::<IpAddr>().is_err() && !name.contains(char::is_whitespace);
    name.split('.').next().filter(|host| is_host && !host.is_empty()).unwrap_or(name)
}

/// Ends a link that was made for this ticket, and the sessions that it opened. One that has ended already is no error.
pub async fn end_link(
    services: &Services,
    connection: &Arc<Connection>,
    agent: &AgentReference,
    ticket: &str,
    link: &str,
) -> Result<(), SupportError> {
    let access = ticket_access::check(connection, agent, ticket).await?;
    let engine = connection.engine.as_ref().ok_or_else(SupportError::no_engine)?;
    let stored = services.store.link(connection.id, link).await?.filter(|link| access.ticket.has_id(&link.ticket));
    let stored = stored.ok_or(SupportError::NoSuchLink)?;
    let now = services.clock.now_ms();
    if stored.ended_at.is_some() || stored.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Ok(());
    }
    engine.end_link(&LinkId { machine: stored.machine, machine_name: stored.machine_name, id: stored.link_id }).await?;
    services.store.end_link(connection.id, link, now).await?;
    tracing::info!(connection = connection.name(), ticket = access.ticket.id, %agent, "a link to a machine was ended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use deskbridge_help_desks::{Agent, Ticket};
    use deskbridge_shared::api::MachineState::{InUse, Offline, Online};

    use super::*;

    fn machine(id: &str, name: &str, state: MachineState) -> EngineMachine {
        EngineMachine { id: id.into(), name: name.into(), state, person: None, other_names: Vec::new() }
    }

    fn access(target: Option<&str>) -> TicketAccess {
        let ticket = Ticket { id: "1".into(), closed: false, target: target.map(str::to_owned), merged: Vec::new() };
        let agent = Agent { name: "Anna".into(), email: None, locale: None, is_administrator: false };
        TicketAccess { ticket, agent }
    }

    fn names(all: &[EngineMachine], target: Option<&str>, former: &[&str], search: &str) -> Vec<String> {
        let former: Vec<String> = former.iter().map(|id| (*id).to_owned()).collect();
        let (found, _) = listed(all.iter(), &access(target), &former, &HashSet::new(), Wanted { search, target: "" });
        found.iter().map(|machine| format!("{}{}", if machine.suggested { "*" } else { "" }, machine.name)).collect()
    }

    #[test]
    fn the_tickets_machine_comes_first_then_those_that_can_be_reached() {
        let mut all =
            vec![machine("1", "zebra", Online), machine("2", "Ant", Offline), machine("3", "bee", InUse), machine("4", "Ape", Online)];
        all[1].other_names = vec!["ant.example.com".into(), "192.0.2.7".into()];
        all[3].person = Some("CORP\\anna".into());
        assert_eq!(names(&all, None, &[], ""), ["Ape", "zebra", "bee", "Ant"]);
        assert_eq!(names(&all, Some(" ANT.example.com "), &[], ""), ["*Ant", "Ape", "zebra", "bee"]);
        assert_eq!(names(&all, Some("ant"), &["3"], ""), ["*bee", "*Ant", "Ape", "zebra"]);
        assert_eq!(names(&all, Some("an"), &["gone"], ""), ["Ape", "zebra", "bee", "Ant"], "a part of a name is no name");
        assert_eq!(names(&all, Some(""), &[], " aNNa "), ["Ape"]);
        assert_eq!(names(&all, None, &[], "192.0 ANT"), ["Ant"]);
        assert!(names(&all, None, &[], "ant bee").is_empty());
    }

    #[test]
    fn more_than_fifty_are_found_by_a_search() {
        let all: Vec<EngineMachine> = (0..60).map(|number| machine(&number.to_string(), &format!("PC-{number:02}"), Online)).collect();
        let listed = |target, search| listed(all.iter(), &access(target), &[], &HashSet::new(), Wanted { search, target: "" });
        let (found, more) = listed(Some("pc-59"), "");
        assert_eq!((found.len(), more, found[0].name.as_str(), found[0].suggested), (50, true, "PC-59", true));
        let (found, more) = listed(None, "pc-5");
        assert_eq!((found.len(), more), (10, false));
    }
}
