//! The administrator's page "Customize Help Center": who may open it, what it says, and what its check finds.
//!
//! Pictures are written only where `DESKBRIDGE_SCREENSHOTS` says so.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deskbridge_shared::routes;
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::{loopback_client, until};
use deskbridge_tests::zendesk::{self, Fault, HelpCenterOptions, Matching, Role, User};
use reqwest::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, ORIGIN, REFERRER_POLICY};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

/// A scene with an administrator.
struct Stage {
    scene: Scene,
    administrator: u64,
    http: Client,
}

impl Stage {
    async fn start(help_center: &str, zendesk: zendesk::Options) -> Result<Self> {
        let scene = Scene::start(Plan { connection: toml::from_str(help_center)?, zendesk, ..Plan::default() }).await?;
        let administrator = User { name: "Ida Sund".to_owned(), role: Role::Admin, ..User::default() };
        let administrator = scene.zendesk.add_user(administrator);
        Ok(Self { scene, administrator, http: loopback_client()? })
    }

    /// The panel's link to the page, for that agent.
    async fn link_for(&self, agent: u64) -> Result<Option<String>> {
        let sidebar = self.scene.open_sidebar(agent).await?;
        let model: Value = sidebar.get(routes::PANEL, self.scene.people.vpn_ticket).send().await?.error_for_status()?.json().await?;
        Ok(model["help_center_page"].as_str().map(str::to_owned))
    }

    async fn link(&self) -> Result<String> {
        self.link_for(self.administrator).await?.context("no link for an administrator")
    }

    async fn get(&self, link: &str) -> Result<Response> {
        Ok(self.http.get(link).send().await?)
    }

    /// What the check's page says.
    async fn check(&self, link: &str) -> Result<String> {
        Ok(self.http.post(format!("{link}/check")).send().await?.error_for_status()?.text().await?)
    }

    /// Writes into the theme's document_head.hbs.
    fn theme(&self, line: &str) -> Result<()> {
        self.scene.zendesk.alter_help_center_theme(|theme| theme.head_line = Some(line.to_owned()))
    }
}

/// The text of a block to copy.
fn code(page: &str, id: &str) -> Result<String> {
    let (_, rest) = page.split_once(&format!("<code id=\"{id}\">")).with_context(|| format!("no {id} in {page}"))?;
    let (text, _) = rest.split_once("</code>").context("an open element")?;
    let references = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#x3D;", "="), ("&amp;", "&")];
    Ok(references.into_iter().fold(text.to_owned(), |text, (reference, plain)| text.replace(reference, plain)))
}

#[tokio::test]
async fn administrators_get_a_link_and_the_page_has_their_values() -> Result<()> {
    let stage = Stage::start("[help_center]\nlink_field = 360002", zendesk::Options::default()).await?;
    ensure!(stage.link_for(stage.scene.people.agent).await?.is_none(), "a link for an agent");
    let link = stage.link().await?;
    let server = stage.scene.server.public_url();
    ensure!(link.starts_with(&format!("{server}{}/", routes::HELP_CENTER_CUSTOMIZE)), "{link}");

    let answer = stage.get(&link).await?;
    assert_eq!(answer.status(), 200);
    let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str()?.to_owned();
    for rule in ["default-src 'none'", "script-src 'self';", "style-src 'self';", "img-src 'self';", "form-action 'self'"] {
        ensure!(policy.contains(rule), "{policy}");
    }
    assert_eq!((answer.headers()[REFERRER_POLICY].to_str()?, answer.headers()[CACHE_CONTROL].to_str()?), ("no-referrer", "no-store"));
    let page = answer.text().await?;
    ensure!(page.contains("lang=\"en\"") && page.contains(stage.scene.server.public_url()), "{page}");
    let line = code(&page, "head-line")?;
    let (start, id) = line.split_once("data-connection=\"").context("a connection")?;
    let (id, end) = id.split_once('"').context("an id")?;
    assert_eq!(start, format!("<script src=\"{server}/help-center/button.js\" "));
    assert_eq!(end, " data-locale=\"{{help_center.locale}}\" defer></script>");
    let snippet = code(&page, "snippet")?;
    assert_eq!(snippet, line.replace(end, &format!(" data-ticket=\"{{{{request.id}}}}\"{end}")));
    // Without a link in the field there is no sentence.
    let sentence = code(&page, "sentence")?;
    ensure!(sentence.starts_with("{% if ticket.ticket_field_360002 != blank %}Open this link"), "{sentence}");
    ensure!(sentence.ends_with(" {{ticket.ticket_field_360002}}{% endif %}"), "{sentence}");
    // Pasted as they stand: browsers ignore the second directive of a name.
    let directives = [code(&page, "script-src")?, code(&page, "connect-src")?];
    assert_eq!(directives, [format!("script-src {server}"), format!("connect-src 'self' {server}")]);
    assert_eq!((page.matches(">script-src ").count(), page.matches(">connect-src ").count()), (1, 1), "{page}");

    // The id is one that the button's other door knows, and the theme's editor takes both lines.
    let offer = stage.http.get(format!("{server}{}", routes::HELP_CENTER_OFFER)).query(&[("connection", id)]).send().await?;
    assert_eq!(offer.status(), 200);
    stage.scene.zendesk.alter_help_center_theme(|theme| {
        theme.head_line = Some(line.clone());
        theme.request_page_snippet = Some(snippet.clone());
    })?;

    let german = stage.http.get(&link).header(ACCEPT_LANGUAGE, "de-AT").send().await?.text().await?;
    ensure!(german.contains("lang=\"de\"") && code(&german, "head-line")? == line, "{german}");
    // Everything that the page loads is there.
    for (_, rest) in page.match_indices("/assets/").map(|(at, _)| page.split_at(at)) {
        let path = rest.split('"').next().unwrap_or_default();
        assert_eq!(stage.get(&format!("{server}{path}")).await?.status(), 200, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_without_a_help_center_is_told_what_to_add() -> Result<()> {
    let mut stage = Stage::start("", zendesk::Options::default()).await?;
    let link = stage.link().await?;
    let page = stage.get(&link).await?.text().await?;
    let lines: toml::Table = toml::from_str(&code(&page, "settings")?.replace("[connection.", "["))?;
    ensure!(lines["help_center"]["customer_proof"].is_array() && !page.contains("<form"), "{page}");
    ensure!(stage.check(&link).await?.contains(&code(&page, "apply")?), "the check without a Help Center is the page");

    // The lines are the settings' own.
    let settings = std::fs::read_to_string(stage.scene.server.settings_path())?;
    std::fs::write(stage.scene.server.settings_path(), format!("{settings}\n{}\n", code(&page, "settings")?))?;
    stage.scene.server.restart().await?;
    let page = stage.get(&link).await?.text().await?;
    ensure!(!page.contains("[connection.help_center]\n") && page.contains("<form"), "{page}");
    Ok(())
}

#[tokio::test]
async fn who_is_no_administrator_any_more_is_refused_and_so_is_another_servers_link() -> Result<()> {
    let mut stage = Stage::start("[help_center]", zendesk::Options::default()).await?;
    let link = stage.link().await?;
    let other = Stage::start("[help_center]", zendesk::Options::default()).await?;
    let (_, token) = link.rsplit_once('/').context("a path")?;
    let elsewhere = format!("{}{}/{token}", other.scene.server.public_url(), routes::HELP_CENTER_CUSTOMIZE);
    let spoilt = format!("{}A", &link[..link.len() - 1]);
    let spoilt = if spoilt == link { format!("{}B", &link[..link.len() - 1]) } else { spoilt };
    for (link, what) in [(&elsewhere, "another server's"), (&spoilt, "spoilt"), (&format!("{link}A"), "longer")] {
        for answer in [stage.get(link).await?, stage.http.post(format!("{link}/check")).send().await?] {
            assert_eq!(answer.status(), 404, "{what}");
            ensure!(answer.text().await?.contains("This link is not valid"), "{what}");
        }
    }

    // What the server remembers of the administrator goes with it.
    stage.scene.server.restart().await?;
    stage
        .scene
        .zendesk
        .fail_always(Matching::new(Method::GET, "/api/v2/users"), Fault::Status { code: 503, body: "{}".to_owned(), retry_after: None });
    let answer = stage.get(&link).await?;
    assert_eq!(answer.status(), 503);
    ensure!(answer.text().await?.contains("Zendesk does not answer"));
    stage.scene.zendesk.clear_faults();
    let demoted = stage.scene.zendesk.alter_user(stage.administrator, |user| user.role = Role::Agent);
    ensure!(demoted.is_some());
    stage.scene.server.restart().await?;
    for answer in [stage.get(&link).await?, stage.http.post(format!("{link}/check")).send().await?] {
        assert_eq!(answer.status(), 403);
        let page = answer.text().await?;
        ensure!(page.contains("for administrators") && !page.contains("button.js"), "{page}");
    }
    ensure!(stage.link_for(stage.administrator).await?.is_none(), "no link any more");
    Ok(())
}

/// A token of our own making, signed by the server's master key for that purpose: the only way to an old one.
fn sign(master_key: &str, purpose: &str, said: &Value) -> Result<String> {
    let master = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(master_key.trim())?);
    let key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, purpose.as_bytes()).as_ref());
    let payload = said.to_string();
    let tag = hmac::sign(&key, payload.as_bytes());
    Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(&tag.as_ref()[..16])))
}

#[tokio::test]
async fn links_end_and_each_is_for_this_page_alone() -> Result<()> {
    let stage = Stage::start("[help_center]", zendesk::Options::default()).await?;
    let key = std::fs::read_to_string(stage.scene.server.directory().join("deskbridge.key"))?;
    let link = stage.link().await?;
    let (base, token) = link.rsplit_once('/').context("a path")?;
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').next().context("a payload")?)?;
    let said: Value = serde_json::from_slice(&payload)?;
    let now = stage.scene.appliance.clock().now();
    ensure!(said["e"].as_i64().is_some_and(|end| end > now && end <= now + 8 * 3_600), "{said}");
    let with = |name: &str, value: Value| {
        let mut said = said.clone();
        said[name] = value;
        said
    };
    for (what, purpose, said, status) in [
        ("as the panel's", "help center set-up", said.clone(), 200),
        ("too old", "help center set-up", with("e", json!(now)), 410),
        ("of another purpose", "chat link", said.clone(), 404),
        ("of an agent", "help center set-up", with("a", json!(stage.scene.people.agent.to_string())), 403),
        ("of nobody", "help center set-up", with("a", json!("1")), 403),
        ("of no connection", "help center set-up", with("c", json!("none")), 403),
    ] {
        let token = sign(&key, purpose, &said)?;
        let answer = stage.get(&format!("{base}/{token}")).await?;
        assert_eq!(answer.status().as_u16(), status, "a token {what}");
        assert_eq!(answer.text().await?.contains("button.js"), status == 200, "a token {what}");
    }
    Ok(())
}

#[tokio::test]
async fn the_check_says_what_it_finds_at_each_origin() -> Result<()> {
    let options = zendesk::Options {
        help_center: HelpCenterOptions { host_mapped: true, ..HelpCenterOptions::default() },
        ..zendesk::Options::default()
    };
    let stage = Stage::start("[help_center]\norigins = [\"http://127.0.0.1:1\"]", options).await?;
    let link = stage.link().await?;
    let page = stage.get(&link).await?.text().await?;
    ensure!(!page.contains("class=\"notice notice-fault\""), "nothing was checked yet");

    let none = stage.check(&link).await?;
    ensure!(
        none.contains("The line is not there.") && none.contains("No page there has loaded the button since this server was started."),
        "{none}"
    );
    ensure!(none.contains("http://127.0.0.1:1<") && none.contains("Deskbridge cannot read this page."), "{none}");

    let line = code(&page, "head-line")?;
    stage.theme(&line)?;
    ensure!(stage.check(&link).await?.contains("belongs to this connection"));
    stage.theme(&line.replace("data-connection=\"", "data-connection=\"x"))?;
    ensure!(stage.check(&link).await?.contains("belongs to another connection"));
    stage.theme("<!-- nothing -->")?;

    // A page of the Help Center loads the button.
    let offer = format!("{}{}", stage.scene.server.public_url(), routes::HELP_CENTER_OFFER);
    let offer = stage.http.get(offer).query(&[("connection", stage.scene.open_sidebar(stage.administrator).await?.connection())]);
    let offer = offer.header(ORIGIN, stage.scene.zendesk.url()).send().await?;
    assert_eq!((offer.status().as_u16(), offer.headers().get(LOCATION)), (200, None));
    let seen = stage.check(&link).await?;
    assert_eq!((seen.matches("last loaded the button on 20").count(), seen.matches("No page there has loaded").count()), (1, 1), "{seen}");

    let german = stage.http.post(format!("{link}/check")).header(ACCEPT_LANGUAGE, "de").send().await?.text().await?;
    ensure!(german.contains("Die Zeile ist nicht da.") && german.contains("Deskbridge kann diese Seite nicht lesen."), "{german}");
    Ok(())
}

async fn picture(browser: &Browser, name: &str, width: u32) -> Result<()> {
    let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") else { return Ok(()) };
    let height = browser.execute("return document.documentElement.scrollHeight", vec![]).await?;
    browser.set_size(width, u32::try_from(height.as_u64().context("a height")?)?).await?;
    browser.screenshot(&PathBuf::from(folder).join(format!("{name}.png"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_copies_checks_and_shows_the_page_narrow_and_wide() -> Result<()> {
    let stage = Stage::start("[help_center]", zendesk::Options::default()).await?;
    let link = stage.link().await?;
    for (language, copied, failed) in [("en-US", "Copied.", "Not copied."), ("de-DE", "Kopiert.", "Nicht kopiert.")] {
        let browser = Browser::start(&Settings { language: language.to_owned(), ..Settings::default() }).await?;
        browser.cdp("Browser.grantPermissions", json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})).await?;
        browser.open(&link).await?;
        browser.click("[data-copies='head-line']").await?;
        browser.element_with_text("[data-copies='head-line'] + [role='status']", copied).await?;
        let clipboard = browser.execute("return navigator.clipboard.readText()", vec![]).await?;
        let line = browser.text("#head-line").await?;
        ensure!(clipboard == line && line.contains("{{help_center.locale}}"), "{clipboard} {line}");

        browser.execute("navigator.clipboard.writeText = () => Promise.reject(new Error('no'))", vec![]).await?;
        browser.click("[data-copies='snippet']").await?;
        browser.element_with_text("[data-copies='snippet'] + [role='status']", failed).await?;
        let selected = browser.execute("return getSelection().toString()", vec![]).await?;
        ensure!(selected == browser.text("#snippet").await?, "{selected}");

        browser.click("form .button-primary").await?;
        browser.element("#check .notice-waiting").await?;
        let loaded = "return [...document.images].every((image) => image.complete && image.naturalWidth > 0 && image.alt)";
        until("the pictures are there", Duration::from_secs(20), async || Ok(browser.execute(loaded, vec![]).await? == json!(true)))
            .await?;
        for width in [1280, 320] {
            browser.set_size(width, 900).await?;
            let too_wide = browser.execute("return document.documentElement.scrollWidth > innerWidth", vec![]).await?;
            ensure!(too_wide == json!(false), "{language}: the page is wider than {width}");
            picture(&browser, &format!("customize-help-center-{}-{width}", &language[..2]), width).await?;
        }
        let errors = browser.console_errors().await?;
        ensure!(errors.is_empty(), "{errors:?}");
        browser.close().await?;
    }
    Ok(())
}

/// Without the script nothing is lost: the buttons that would need it are not shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_script_there_is_text_and_no_copy_button() -> Result<()> {
    let stage = Stage::start("", zendesk::Options::default()).await?;
    let browser = Browser::start(&Settings::default()).await?;
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({"value": true})).await?;
    browser.open(&stage.link().await?).await?;
    ensure!(browser.text("#settings").await?.contains("[connection.help_center]"));
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({"value": false})).await?;
    let shown = "return [...document.querySelectorAll('[data-copies]')].filter((button) => button.checkVisibility()).length";
    ensure!(browser.execute(shown, vec![]).await? == json!(0), "a button that does nothing");
    picture(&browser, "customize-help-center-first", 1280).await?;
    browser.close().await
}
