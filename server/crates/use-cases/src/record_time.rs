//! The session's time goes onto its ticket, once: the real start and end, for the primary representative.

use deskbridge_core::session_report::SessionReport;
use deskbridge_core::text::shown;
use deskbridge_help_desks::{Item, TimeEntry};
use deskbridge_store::Result as StoreResult;
use deskbridge_work::WorkError;
use deskbridge_work::delivery::{Deliverer, Planned};

use crate::Services;
use crate::connections::Connection;
use crate::note::marker;
use crate::ownership::CLOCK_TOLERANCE_MS;

/// The delivery of a session's time.
pub(crate) const TIME: &str = "time";

/// Longest name that is told.
const MOST_NAME: usize = 60;

/// Records the session's time where the help desk does. `None`: it does not.
pub(crate) async fn run(
    services: &Services,
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    ticket: &str,
    report: &SessionReport,
) -> Result<Option<String>, WorkError> {
    if !connection.help_desk.abilities().records_time {
        return Ok(None);
    }
    let without = |why: &str| Ok(Some(format!("no time entry: {why}")));
    let (Some(start), Some(end)) = (report.start_time, report.end_time) else {
        return without("the remote-support system tells no start or no end of the session");
    };
    let name = told(report.representative_name());
    let user = match told(report.primary_representative().and_then(|representative| representative.username.as_deref())) {
        Some(user) => Some(user),
        None => told(agent_email(services, connection, ticket, report, start).await?.as_deref()),
    };
    let Some(representative) = user.as_ref().or(name.as_ref()) else {
        return without(if report.representatives.is_empty() {
            "no representative was in the session"
        } else {
            "the remote-support system tells no name of the representative"
        });
    };
    if user.is_none() && connection.help_desk.finds_time_entry_users() {
        let who = shown(representative, MOST_NAME);
        return without(&format!(
            "neither a user name nor an e-mail address of “{who}” is known, by which the ticket system finds whose time it is; pair their browser \
             with --email"
        ));
    }
    let marker = marker(&deliverer.key(TIME));
    let ms = |seconds: i64| seconds.saturating_mul(1_000);
    let name = name.as_ref().unwrap_or(representative).clone();
    let entry = TimeEntry { started_at: ms(start), ended_at: ms(end), representative: representative.clone(), name };
    let done = deliverer.once(&Planned { kind: TIME, ticket, marker: &marker, item: Item::Time(&entry) }).await?;
    Ok(Some(format!("the time entry {} ticket {} (entry {})", done.how, done.ticket, done.remote_id)))
}

fn told(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The e-mail address of the agent whose link the session was opened by.
async fn agent_email(
    services: &Services,
    connection: &Connection,
    ticket: &str,
    report: &SessionReport,
    began: i64,
) -> StoreResult<Option<String>> {
    let Some((kind, agent)) = report.kind.zip(report.representative_name()) else { return Ok(None) };
    let at = began.saturating_mul(1_000).saturating_add(CLOCK_TOLERANCE_MS);
    services.store.agent_email(connection.id, ticket, kind.as_str(), agent, at).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use deskbridge_core::event::EventKind;
    use deskbridge_core::session_report::{Representative, SessionKind};
    use deskbridge_help_desks::AgentReference;
    use deskbridge_shared::api::{JumpMethod, JumpRequest};
    use deskbridge_work::heard::Heard;
    use uuid::Uuid;

    use super::*;
    use crate::jump;
    use crate::testing::{Engine, HelpDesk, NOW, Rig, connection};

    const LSID: &str = "3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a2b";

    fn report(representative: Representative) -> SessionReport {
        SessionReport {
            lsid: LSID.to_owned(),
            start_time: Some(NOW / 1_000),
            end_time: Some(NOW / 1_000 + 60),
            kind: Some(SessionKind::Desktop),
            representatives: vec![representative],
            ..SessionReport::default()
        }
    }

    fn named(name: &str) -> Representative {
        Representative { display_name: Some(name.to_owned()), ..Representative::default() }
    }

    /// What is said, and the entry's representative and name.
    async fn recorded(report: &SessionReport, finds_users: bool, link_of: Option<(&str, &str)>) -> (String, Option<(String, String)>) {
        let (engine, help_desk) = (Engine::new("mesh.example.com/~t:1"), HelpDesk::new());
        help_desk.records_time.store(true, Ordering::SeqCst);
        help_desk.finds_time_entry_users.store(finds_users, Ordering::SeqCst);
        let connection = connection(1, "a", &engine, &help_desk);
        let rig = Rig::new(std::slice::from_ref(&connection)).await;
        if let Some((email, in_link)) = link_of {
            *help_desk.email.lock().unwrap() = Some(email.to_owned());
            *engine.link_agent.lock().unwrap() = Some(in_link.to_owned());
            let agent = AgentReference::Device { id: Uuid::from_u128(7), name: "Anna".to_owned(), email: None };
            let request = JumpRequest::new(JumpMethod::Desktop, "node//bar".to_owned());
            jump::launch(&rig.services, &connection, &agent, "5", &request).await.unwrap();
        }
        let event = rig.event(EventKind::SessionEnd, LSID).await;
        let (services, heard) = (&rig.services, Heard::default());
        let mut deliverer =
            Deliverer::load(services.store.as_ref(), &services.clock, help_desk.as_ref(), connection.id, &event, &heard).await.unwrap();
        let said = run(services, &connection, &mut deliverer, "5", report).await.unwrap().expect("time is recorded here");
        let entry = help_desk.time_entries.lock().unwrap().pop();
        (said, entry.map(|entry| (entry.representative, entry.name)))
    }

    fn entry(representative: &str, name: &str) -> (String, String) {
        (representative.to_owned(), name.to_owned())
    }

    #[tokio::test]
    async fn whoever_is_known_best_has_the_time() {
        let jdoe = Representative { username: Some("jdoe".to_owned()), ..named("Jane Doe") };
        assert_eq!(recorded(&report(jdoe), true, None).await.1, Some(entry("jdoe", "Jane Doe")));
        let link = Some(("anna@msp.example", "Anna"));
        assert_eq!(recorded(&report(named("Anna")), true, link).await.1, Some(entry("anna@msp.example", "Anna")));
        // As a long ticket id leaves room for it.
        let cut = Some(("anna@msp.example", "An"));
        assert_eq!(recorded(&report(named("An")), true, cut).await.1, Some(entry("anna@msp.example", "An")));
        // The link of another agent is no proof.
        assert_eq!(recorded(&report(named("Berta")), false, link).await.1, Some(entry("Berta", "Berta")));
        assert_eq!(recorded(&report(named("Anna")), false, None).await.1, Some(entry("Anna", "Anna")));
    }

    #[tokio::test]
    async fn where_nobody_has_the_time_the_reason_is_told() {
        let said = async |report: SessionReport, finds_users| {
            let (said, entry) = recorded(&report, finds_users, None).await;
            assert_eq!(entry, None);
            said
        };
        let by_name = said(report(named("Anna")), true).await;
        assert!(by_name.contains("“Anna”") && by_name.contains("--email"), "{by_name}");
        let nobody = SessionReport { representatives: Vec::new(), ..report(named("Anna")) };
        assert!(said(nobody, false).await.contains("no representative was in the session"));
        assert!(said(report(named(" ")), false).await.contains("no name of the representative"));
        let endless = SessionReport { start_time: None, ..report(named("Anna")) };
        assert!(said(endless, false).await.contains("no start"));
    }
}
