//! The real demo: a real MeshCentral, a real machine with a screen, a real Request Tracker, and a real server between them.
//!
//! Everything listens on loopback alone, and is gone when the demo ends.

mod check;
mod desk;
mod page;
mod scene;
mod timeline;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::DIRECTORY;
use scene::{Parts, Scene};

/// How often the sessions and the notes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What ends the demo.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

impl Ending {
    fn new() -> Result<Self> {
        let on = |kind| signal(kind).context("cannot wait for signals");
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
        println!("\nEnding.");
    }
}

/// Plays by itself, or with a person until Ctrl-C.
pub async fn run(check: bool, simulated_tickets: bool) -> Result<()> {
    let mut ending = Ending::new()?;
    let mut scene = tokio::select! {
        scene = Scene::start(simulated_tickets) => scene?,
        () = ending.came() => return forget(),
    };
    let outcome = tokio::select! {
        outcome = play(&mut scene, check) => outcome,
        () = ending.came() => if check { Err(anyhow::anyhow!("interrupted")) } else { Ok(()) },
    };
    let ended = scene.end().await;
    let forgotten = forget();
    outcome.and(ended).and(forgotten)
}

async fn play(scene: &mut Scene, check: bool) -> Result<()> {
    if check {
        return check::play(&mut scene.parts).await;
    }
    println!("{}", scene.instructions()?);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let Scene { parts, page, .. } = scene;
    loop {
        tokio::select! {
            _ = look.tick() => look_at(parts, page).await,
            Some(text) = page.help_requests.recv() => {
                let outcome = parts.request_help(&text).await;
                page.tell_of_help(outcome);
            }
        }
        if let Some(status) = parts.server.has_ended()? {
            bail!("the server ended with {status}:\n{}", parts.server.logs().tail());
        }
    }
}

async fn look_at(parts: &mut Parts, page: &page::Page) {
    let looked = parts.look().await;
    page.show(parts.timeline.json(&parts.desk), looked.err().as_ref());
}

/// Removes settings, database and log. A browser that is still open writes into its profile there.
fn forget() -> Result<()> {
    let directory = Path::new(DIRECTORY);
    if directory.join(scene::PROFILE).join("SingletonLock").symlink_metadata().is_ok() {
        println!("A browser with the extension is still open, so {DIRECTORY}/ stays until the next demo starts.");
        return Ok(());
    }
    if directory.exists() {
        std::fs::remove_dir_all(directory).with_context(|| format!("cannot remove {DIRECTORY}"))?;
    }
    println!("Nothing of it is left.");
    Ok(())
}
