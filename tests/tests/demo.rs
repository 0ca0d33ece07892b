//! The demo keeps its promise without a person: `demo --check` makes a key, plays its session, finds the report.

use std::process::Stdio;
use std::time::Duration;

use deskbridge_tests::processes::program_beside_us;
use tokio::process::Command;

#[tokio::test]
async fn the_demo_plays_its_story() {
    let directory = tempfile::tempdir().unwrap();
    let demo = Command::new(program_beside_us("demo").unwrap())
        .arg("--check")
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(2), demo).await.expect("the demo ends in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("the report is there"), "{said}");
}
