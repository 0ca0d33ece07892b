//! The server harness itself, on the real program: starting, dying, coming back, ending in order.

use deskbridge_shared::routes;
use deskbridge_tests::server::{Database, Deskbridge, deskbridge_cli, loopback_client};
use reqwest::StatusCode;

async fn status(url: &str) -> Option<StatusCode> {
    let answer = loopback_client().unwrap().get(url).send().await;
    answer.ok().map(|answer| answer.status())
}

async fn comes_back_where_it_was(database: Database) {
    let mut server = Deskbridge::builder().database(database).start().await.unwrap();
    let health = format!("{}{}", server.url(), routes::HEALTHZ);
    assert_eq!(status(&health).await, Some(StatusCode::OK));
    server.wait_for_log("listening").await.unwrap();
    assert!(server.rss_kib().unwrap() > 1024);

    let first = server.process_id();
    let mark = server.logs().mark();
    server.kill().await.unwrap();
    assert_eq!(status(&health).await, None, "a dead server answers nothing");
    server.start().await.unwrap();
    assert_ne!(server.process_id(), first);
    assert_eq!(status(&health).await, Some(StatusCode::OK));
    server.logs().wait_for_after(mark, "listening").await.unwrap();

    let ended = server.terminate().await.unwrap();
    assert!(ended.success(), "{ended}\n{}", server.logs().tail());
    assert_eq!(status(&health).await, None);
}

#[tokio::test]
async fn a_server_comes_back_where_it_was_on_sqlite() {
    comes_back_where_it_was(Database::Sqlite).await;
}

#[tokio::test]
async fn a_server_comes_back_where_it_was_on_postgres() {
    comes_back_where_it_was(Database::Postgres).await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let error = Deskbridge::builder().server_setting("listen", "nowhere").start().await.unwrap_err().to_string();
    assert!(error.contains("before it was ready") && error.contains("listen"), "{error}");
}

#[tokio::test]
async fn commands_are_run_to_their_end() {
    let output = deskbridge_cli(&["--version"], &[]).await.unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("deskbridge"));
}
