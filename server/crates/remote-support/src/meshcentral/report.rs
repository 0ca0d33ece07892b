//! A session's report, made of what MeshCentral tells in several places.

use deskbridge_core::session_report::{
    Actor, Customer, CustomerInfo, Participant, Representative, SessionEvent, SessionKind, SessionReport, SystemCategory,
    SystemInformation, event_type,
};
use deskbridge_core::text::shown;
use deskbridge_http_client::{BodyError, read_body};
use serde_json::{Value, json};

use super::events::Session;
use super::guest_name::GuestName;
use super::nodes::Node;
use super::recording::{self, ChatLine, Sender};
use super::server::{Recording, Server};
use crate::{EngineFault, Error};

/// Longest value of system information.
const LONGEST_VALUE: usize = 200;
/// Most rows of one category.
const MOST_ROWS: usize = 40;

/// What is known at once.
pub(super) fn beginning(session: &Session, name: Option<&GuestName>, node: Option<&Node>) -> SessionReport {
    let machine = node.map(|node| node.name.clone()).filter(|machine| !machine.is_empty());
    let who = name.map(|name| name.agent.clone()).filter(|agent| !agent.is_empty()).unwrap_or_else(|| shown(&session.user_name, 100));
    let end = session.end.as_ref();
    let mut report = SessionReport {
        lsid: session.lsid.clone(),
        session_type: Some("support".into()),
        start_time: Some(session.began_at.div_euclid(1_000)),
        end_time: end.map(|end| end.at.div_euclid(1_000)),
        external_key: name.map(|name| name.ticket.clone()),
        kind: Some(session.kind),
        machine: machine.clone(),
        traffic: end.and_then(|end| end.traffic),
        primary_representative: Some(Participant { gsnumber: Some("1".into()), id: None, name: Some(who.clone()) }),
        representatives: vec![Representative {
            gsnumber: Some("1".into()),
            display_name: Some(who),
            is_owner: true,
            seconds_involved: end.map(|end| end.seconds),
            ..Representative::default()
        }],
        ..SessionReport::default()
    };
    if let Some(node) = node {
        let told = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        report.customers = vec![Customer {
            gsnumber: Some("2".into()),
            username: node.person.clone(),
            private_ip: told(&node.address),
            hostname: told(&node.host_name).or(machine),
            os: told(&node.system),
            is_primary: true,
            info: CustomerInfo::default(),
            ..Customer::default()
        }];
    }
    if end.is_some_and(|end| end.is_estimated) {
        report.remarks.push(
            "When this session ended is not known exactly: MeshCentral or the machine lost its connection meanwhile. The end given here is the latest possible."
                .into(),
        );
    }
    report
}

/// What the recording tells.
pub(super) async fn add_recording(report: &mut SessionReport, session: &Session, server: &Server, found: &Recording) -> Result<(), Error> {
    report.recording = true;
    if !matches!(session.kind, SessionKind::Terminal | SessionKind::Chat) {
        return Ok(());
    }
    let what = if session.kind == SessionKind::Chat { "messages" } else { "terminal" };
    let answer = match server.file(found, None).await {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            report.recording = false;
            return Ok(());
        }
        // The record does not wait for what may never come.
        Err(error) if !error.is_passing() => {
            tracing::warn!(lsid = session.lsid, %error, "a recording was not handed out");
            report.remarks.push(format!("MeshCentral did not hand out the recording of the {what}."));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let body = match read_body(answer, recording::MAX_BYTES).await {
        Ok(body) => body,
        Err(BodyError::TooLarge(_)) => {
            report.remarks.push(format!("The recording is too large for the {what} to stand here; open it from the ticket's panel."));
            return Ok(());
        }
        Err(BodyError::Broken(_)) => {
            return Err(Error::new(EngineFault::Unreachable, "MeshCentral's recording broke off; it is read again"));
        }
    };
    if session.kind == SessionKind::Chat {
        let events: Vec<SessionEvent> = recording::chat(&body).into_iter().map(|line| chat_event(line, report)).collect();
        report.events.extend(events);
        return Ok(());
    }
    let transcript = tokio::task::spawn_blocking(move || recording::transcript(&body)).await;
    match transcript.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
        Ok(transcript) => report.terminal = Some(transcript),
        Err(fault) => {
            tracing::warn!(lsid = session.lsid, %fault, "a terminal's recording is not understood");
            report.remarks.push("The recording of the terminal could not be read; open it from the ticket's panel.".into());
        }
    }
    Ok(())
}

/// MeshCentral's chats have two sides, and it does not say who writes at the machine.
fn chat_event(line: ChatLine, report: &SessionReport) -> SessionEvent {
    let side = |kind: &str, gsnumber: &str, name: Option<&str>| {
        Some(Actor { kind: kind.into(), gsnumber: Some(gsnumber.into()), name: name.map(str::to_owned) })
    };
    let technician = side("representative", "1", report.representative_name());
    let machine = side("customer", "2", Some(report.machine.as_deref().unwrap_or("The machine")));
    let (performed_by, destination) = if line.sender == Sender::Technician { (technician, machine) } else { (machine, technician) };
    SessionEvent {
        timestamp: Some(line.at),
        event_type: event_type::CHAT_MESSAGE.into(),
        performed_by,
        destination,
        body: Some(line.text),
        ..SessionEvent::default()
    }
}

/// What the machine says of itself.
pub(super) async fn add_system_information(
    report: &mut SessionReport,
    session: &Session,
    server: &Server,
    node: Option<&Node>,
) -> Result<(), Error> {
    let mut general = Vec::new();
    if let Some(node) = node {
        for (name, value) in
            [("Name", &node.name), ("Host name", &node.host_name), ("Operating system", &node.system), ("Address", &node.address)]
        {
            if !value.is_empty() {
                general.push(vec![name.to_owned(), value.clone()]);
            }
        }
    }
    // Without the right, or from an agent that tells nothing, there is an answer that says so.
    let answer = server.socket().await?.ask(json!({"action": "getsysinfo", "nodeid": session.node})).await;
    let answer = answer.inspect_err(|error| tracing::debug!(%error, "no system information")).unwrap_or_default();
    let mut categories = categories(general, &answer);
    categories.retain(|category| !category.rows.is_empty());
    if !categories.is_empty() {
        report.events.push(SessionEvent {
            timestamp: report.end_time,
            event_type: event_type::SYSTEM_INFORMATION.into(),
            performed_by: Some(Actor { kind: "customer".into(), gsnumber: Some("2".into()), name: report.machine.clone() }),
            system_information: Some(SystemInformation { categories }),
            ..SessionEvent::default()
        });
    }
    Ok(())
}

fn table(name: &str, rows: Vec<Vec<String>>) -> SystemCategory {
    SystemCategory { name: name.into(), columns: vec!["Name".into(), "Value".into()], rows }
}

/// Hardware's own names for what it is (meshcentral.md), in words: what agents look for first.
const ESSENTIALS: [(&str, &str); 3] = [("product_name", "Product"), ("board_serial", "Serial number"), ("cpu_name", "Processor")];
/// The rest.
const HARDWARE: [(&str, &str); 8] = [
    ("board_vendor", "Board vendor"),
    ("board_name", "Board"),
    ("board_version", "Board version"),
    ("bios_vendor", "BIOS vendor"),
    ("bios_version", "BIOS version"),
    ("bios_date", "BIOS date"),
    ("bios_mode", "BIOS mode"),
    ("product_uuid", "Product id"),
];

/// What is told, in categories: by their names, the settings choose the first and the last of them unless they say otherwise (`system_categories`).
fn categories(mut general: Vec<Vec<String>>, answer: &Value) -> Vec<SystemCategory> {
    let identifiers = answer.get("hardware").and_then(|hardware| hardware.get("identifiers")).unwrap_or(&Value::Null);
    let value = |value: &Value| match value {
        Value::String(text) => shown(text.trim(), LONGEST_VALUE),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let rows = |names: &[(&str, &str)]| -> Vec<Vec<String>> {
        let row = |(key, name): &(&str, &str)| Some(vec![(*name).to_owned(), value(identifiers.get(*key)?)]);
        names.iter().filter_map(row).filter(|row| !row[1].is_empty()).collect()
    };
    general.extend(rows(&ESSENTIALS));
    let mut hardware = rows(&HARDWARE);
    for graphics in identifiers.get("gpu_name").and_then(Value::as_array).into_iter().flatten() {
        hardware.push(vec!["Graphics".to_owned(), value(graphics)]);
    }
    hardware.truncate(MOST_ROWS);
    let disks = identifiers.get("storage_devices").and_then(Value::as_array).into_iter().flatten().map(|device| {
        let name = ["Caption", "Model"].iter().find_map(|key| device.get(key)).map(value).unwrap_or_default();
        vec![name, device.get("Size").map(|size| disk_size(&value(size))).unwrap_or_default()]
    });
    let disks = disks.filter(|row| row.iter().any(|value| !value.is_empty())).take(MOST_ROWS).collect();
    let disks = SystemCategory { name: "Disks".into(), columns: vec!["Name".into(), "Size".into()], rows: disks };
    vec![table("General", general), table("Hardware", hardware), disks]
}

/// Agents tell bytes, or a text such as `512 GB`.
fn disk_size(told: &str) -> String {
    match told.parse::<u64>() {
        Ok(bytes) if bytes >= 1_000_000_000 => format!("{} GB", (bytes + 500_000_000) / 1_000_000_000),
        _ => told.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(category: &SystemCategory) -> Vec<String> {
        category.rows.iter().map(|row| row.join("=")).collect()
    }

    #[test]
    fn hardware_is_told_in_words_and_nothing_strange_gets_through() {
        let answer = json!({"action": "getsysinfo", "hardware": {"identifiers": {"product_name": "ThinkPad\u{202e} X1", "cpu_name": "Intel i7", "bios_version": 5,
            "board_name": {"no": "text"}, "gpu_name": ["Iris", 7], "storage_devices": [{"Model": "SSD", "Size": 512}, "no"]}}});
        let [general, hardware, disks] = categories(Vec::new(), &answer).try_into().unwrap();
        assert_eq!(rows(&general), ["Product=ThinkPad X1", "Processor=Intel i7"]);
        assert_eq!(rows(&hardware), ["BIOS version=5", "Graphics=Iris", "Graphics=7"]);
        assert_eq!(rows(&disks), ["SSD=512"]);
        assert!(categories(Vec::new(), &json!({"noinfo": true})).iter().all(|category| category.rows.is_empty()));
    }

    /// Short, and what an agent looks for: by the settings as they are unless somebody writes others.
    #[test]
    fn what_agents_look_for_is_told_by_default() {
        let answer = json!({"hardware": {"identifiers": {"product_name": "ThinkPad X1", "board_serial": "PF123", "cpu_name": "Intel i7",
            "board_vendor": "LENOVO", "bios_version": "1.2", "gpu_name": ["Iris"],
            "storage_devices": [{"Caption": "SSD 980", "Size": "512110190592"}, {"Caption": "USB", "Size": "16 GB"}]}}});
        let chosen = deskbridge_core::settings::ReportsSection::default().system_categories;
        let is_told = |category: &SystemCategory| chosen.iter().any(|word| category.name.to_lowercase().contains(&word.to_lowercase()));
        let told: Vec<String> = categories(Vec::new(), &answer).iter().filter(|category| is_told(category)).flat_map(rows).collect();
        assert_eq!(told, ["Product=ThinkPad X1", "Serial number=PF123", "Processor=Intel i7", "SSD 980=512 GB", "USB=16 GB"]);
    }

    /// As with BeyondTrust: who wrote, and to whom.
    #[test]
    fn messages_say_who_wrote_to_whom() {
        let report = |machine: Option<&str>| SessionReport {
            machine: machine.map(str::to_owned),
            primary_representative: Some(Participant { name: Some("Jane D.".into()), ..Participant::default() }),
            ..SessionReport::default()
        };
        let told = |sender, machine| {
            let event = chat_event(ChatLine { at: 5, sender, text: "Hello".into() }, &report(machine));
            let name =
                |actor: Option<Actor>| actor.map(|actor| format!("{} {}", actor.kind, actor.name.unwrap_or_default())).unwrap_or_default();
            format!("{} > {}: {}", name(event.performed_by), name(event.destination), event.body.unwrap_or_default())
        };
        assert_eq!(told(Sender::Technician, Some("PC-17")), "representative Jane D. > customer PC-17: Hello");
        assert_eq!(told(Sender::Machine, Some("PC-17")), "customer PC-17 > representative Jane D.: Hello");
        assert_eq!(told(Sender::Machine, None), "customer The machine > representative Jane D.: Hello");
    }
}
