//! `deskbridge check`: each trap of the facts sheet is met by a setting, or by a line here.

use std::time::Duration;

use deskbridge_core::finding::Finding;
use tokio::time::timeout;

use super::engine::MeshCentral;
use super::server::RECORDINGS;
use crate::{EngineFault, Error};

/// Rights in a device group (meshcentral.md, rights).
const REMOTE_CONTROL: u32 = 8;
const GUEST_SHARING: u32 = 0x8_0000;
const DEVICE_DETAILS: u32 = 0x10_0000;
const VIEW_ONLY: u32 = 0x100;
const LIMITED_INPUT: u32 = 0x1000;
const LIMITED_EVENTS: u32 = 0x2000;
const NO_TERMINAL: u32 = 0x200;
const NO_FILES: u32 = 0x400;
const NO_DESKTOP: u32 = 0x1_0000;
const ALL: u32 = u32::MAX;
/// Rights on the whole server that Deskbridge has no use for.
const MORE_THAN_NEEDED: u32 = !RECORDINGS & !(32 | 64 | 128 | 1024 | 2048 | 4096);
/// A clock this far off makes links and sweeps go wrong.
const CLOCK_TOLERANCE_SECONDS: i64 = 30;

pub(super) async fn run(engine: &MeshCentral, now: i64, patience: Duration) -> Vec<Finding> {
    match timeout(patience, look(engine, now)).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) if matches!(error.fault, EngineFault::Denied { .. } | EngineFault::Resting { .. }) => {
            vec![Finding::bad("MeshCentral login", error.to_string())]
        }
        Ok(Err(error)) => vec![Finding::bad("MeshCentral", error.to_string())],
        Err(_) => vec![Finding::bad("MeshCentral", "it did not answer in time; look at its load and the network")],
    }
}

async fn look(engine: &MeshCentral, now: i64) -> Result<Vec<Finding>, Error> {
    let socket = engine.server.socket().await?;
    let greeting = &socket.greeting;
    let mut findings = vec![Finding::good("MeshCentral login", format!("signed in as {}", greeting.user_id))];
    if !engine.section.user.trim().starts_with("~t:") {
        findings.push(Finding::note(
            "login token",
            "user and password are those of an account; a login token can be taken back by itself (My Account > Account security > Manage login tokens)",
        ));
    }
    let apart = now - socket.server_now().div_euclid(1_000);
    findings.push(if apart.abs() <= CLOCK_TOLERANCE_SECONDS {
        Finding::good("clock", format!("{} s apart", apart.abs()))
    } else {
        let direction = if apart > 0 { "ahead of" } else { "behind" };
        Finding::bad("clock", format!("this machine is {} s {direction} MeshCentral; set both clocks by NTP", apart.abs()))
    });
    let machines = engine.server.machines().await?;
    findings.push(if machines.is_empty() {
        Finding::bad("machines", "the account sees no machine; give it access to the device groups whose machines agents are to open")
    } else {
        let count = if machines.len() == 1 { "1 machine".to_owned() } else { format!("{} machines", machines.len()) };
        Finding::good("machines", count)
    });
    findings.extend(links(engine, greeting.has_no_links, greeting.longest_link));
    findings.extend(group_rights(&greeting.group_rights, greeting.site_rights));
    findings.push(if greeting.site_rights & RECORDINGS != 0 {
        Finding::good("permission for recordings", "given")
    } else {
        Finding::note(
            "permission for recordings",
            "not given: reports hold no terminal transcript and no recording. Give the account the site right “Recordings”, and set sessionRecording in MeshCentral's config.json",
        )
    });
    if greeting.site_rights & MORE_THAN_NEEDED != 0 {
        findings.push(Finding::note(
            "site rights",
            "the account may do more than Deskbridge needs; give it the site right “Recordings” alone. Until MeshCentral 1.2, whoever holds a link can use the account that made it",
        ));
    }
    Ok(findings)
}

fn links(engine: &MeshCentral, has_none: bool, longest: Option<u32>) -> Vec<Finding> {
    if engine.section.agents_sign_in {
        return vec![Finding::note("links", "none are made: agents open machines as themselves (agents_sign_in)")];
    }
    if has_none {
        return vec![Finding::bad(
            "links",
            "switched off on this server; take guestDeviceSharing = false out of MeshCentral's config.json",
        )];
    }
    let minutes = engine.section.link_minutes;
    let shorter = longest.filter(|longest| *longest > 0 && *longest < minutes);
    vec![match shorter {
        Some(longest) => Finding::note(
            "links",
            format!("MeshCentral ends them after {longest} minutes (guestDeviceSharing.maxSessionTime), not after {minutes}"),
        ),
        None => Finding::good("links", format!("can be used for {minutes} minutes")),
    }]
}

fn group_rights(groups: &std::collections::HashMap<String, u32>, site_rights: u32) -> Vec<Finding> {
    if site_rights == ALL && groups.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let lacking = |bits: u32| groups.values().filter(|rights| **rights != ALL && **rights & bits != bits).count();
    let hindered = |bit: u32| groups.values().filter(|rights| **rights != ALL && **rights & bit != 0).count();
    for (what, bits, name) in
        [("permission to open machines", REMOTE_CONTROL, "Remote Control"), ("permission for links", GUEST_SHARING, "Guest Sharing")]
    {
        findings.push(match lacking(bits) {
            0 => Finding::good(what, "given"),
            some => Finding::bad(
                what,
                format!("missing in {some} of {} device groups: give the account the right “{name}” there", groups.len()),
            ),
        });
    }
    if lacking(DEVICE_DETAILS) > 0 {
        findings.push(Finding::note(
            "permission for system information",
            format!(
                "missing in {} of {} device groups: give the account the right “Device Details” there",
                lacking(DEVICE_DETAILS),
                groups.len()
            ),
        ));
    }
    if hindered(LIMITED_INPUT) > 0 {
        findings.push(Finding::bad(
            "limited input",
            format!("set in {} device groups, which forbids links: take the right “Limited Input” away", hindered(LIMITED_INPUT)),
        ));
    }
    for (bit, what) in [
        (VIEW_ONLY, "“Remote View Only”: desktops can be seen and not used"),
        (LIMITED_EVENTS, "“Limited Events”: sessions of agents who sign in themselves are not seen"),
        (NO_TERMINAL, "“No Terminal”: links to terminals are refused"),
        (NO_FILES, "“No Files”: links to files are refused"),
        (NO_DESKTOP, "“No Desktop”: links to desktops are refused"),
    ] {
        if hindered(bit) > 0 {
            findings.push(Finding::note("limits", format!("{} of {} device groups have {what}", hindered(bit), groups.len())));
        }
    }
    findings
}
