//! The browser harness itself: pages, foreign frames, the console, sizes, colours, extensions, and a clean end.

use std::path::Path;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use deskbridge_tests::browser::{Browser, Settings};
use serde_json::json;

const PAGE: &str = r"<!doctype html><title>Outer</title>
<style>@media (prefers-color-scheme: dark) { body { background: black } }</style>
<h1>Ticket 41</h1><input id=field value=old><button id=later disabled>Press</button><output></output>
<iframe id=panel></iframe>
<script>
  document.querySelector('iframe').src = location.search.slice(1) || 'about:blank';
  document.querySelector('button').onclick = () => {
    document.querySelector('output').textContent = document.querySelector('input').value;
    console.error('pressed');
  };
  setTimeout(() => { document.querySelector('button').disabled = false; }, 200);
</script>";

const FRAME: &str = "<!doctype html><p>Inside</p>";

/// Two servers, so that one can frame the other across origins.
async fn serve(page: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(move || async move { Html(page) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

#[tokio::test]
async fn pages_frames_and_console_are_reached() {
    let inner = serve(FRAME).await.replace("127.0.0.1", "localhost");
    let outer = serve(PAGE).await;
    let browser = Browser::start(&Settings::default()).await.unwrap();

    browser.open(&format!("{outer}?{inner}")).await.unwrap();
    assert_eq!(browser.text("h1").await.unwrap(), "Ticket 41");

    browser.type_into("#field", "Zoë").await.unwrap();
    browser.click("#later").await.unwrap();
    browser.element_with_text("output", "Zoë").await.unwrap();
    let errors = browser.console_errors().await.unwrap();
    assert!(errors.iter().any(|error| error.contains("pressed")), "{errors:?}");

    browser.enter_frame("#panel").await.unwrap();
    assert_eq!(browser.text("p").await.unwrap(), "Inside");
    let origin = browser.execute("return location.origin + '/'", vec![]).await.unwrap();
    assert_eq!(origin, json!(inner));
    browser.leave_frames().await.unwrap();
    assert_eq!(browser.text("h1").await.unwrap(), "Ticket 41");

    browser.close().await.unwrap();
}

#[tokio::test]
async fn size_colours_and_language_are_as_asked() {
    let page = serve(PAGE).await;
    let settings = Settings { width: 320, height: 600, dark: true, language: "de-DE".to_owned(), ..Settings::default() };
    let browser = Browser::start(&settings).await.unwrap();
    browser.open(&page).await.unwrap();
    let seen = browser
        .execute("return [innerWidth, innerHeight, matchMedia('(prefers-color-scheme: dark)').matches, navigator.language]", vec![])
        .await
        .unwrap();
    assert_eq!(seen, json!([320, 600, true, "de-DE"]));

    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("pictures/page.png");
    browser.screenshot(&picture).await.unwrap();
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&picture).unwrap()));
    let reader = decoder.read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (320, 600));
    browser.close().await.unwrap();
}

#[tokio::test]
async fn extensions_are_loaded() {
    let extension = tempfile::tempdir().unwrap();
    let manifest = json!({
        "manifest_version": 3, "name": "Probe", "version": "1",
        "content_scripts": [{"matches": ["http://127.0.0.1/*"], "js": ["probe.js"]}],
    });
    std::fs::write(extension.path().join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(extension.path().join("probe.js"), "document.querySelector('h1').textContent = 'Seen by the extension'").unwrap();
    let settings = Settings { extensions: vec![extension.path().to_owned()], ..Settings::default() };
    let browser = Browser::start(&settings).await.unwrap();
    browser.open(&serve(PAGE).await).await.unwrap();
    browser.element_with_text("h1", "Seen by the extension").await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test]
async fn a_dropped_browser_leaves_no_process() {
    let browser = Browser::start(&Settings::default()).await.unwrap();
    browser.open(&serve(PAGE).await).await.unwrap();
    // An element outlives the browser in many a failing test.
    let element = browser.element("h1").await.unwrap();
    let processes = browser.processes();
    assert_eq!(processes.len(), 2, "driver and browser: {processes:?}");
    assert!(processes.iter().all(|&id| is_alive(id)));
    drop(browser);
    drop(element);
    for id in processes {
        for _ in 0..500 {
            if !is_alive(id) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(!is_alive(id), "process {id} is still there");
    }
}

/// An ended process that nobody has waited for counts as ended (proc(5): states X and Z).
fn is_alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['X', 'Z'])))
}
