//! `deskbridge links`: what an administrator copies into Autotask and into the appliance, to the letter.

use anyhow::{Context, Result};
use deskbridge_tests::appliance::{Options, SimulatedAppliance};
use deskbridge_tests::autotask::{self, SimulatedAutotask};
use deskbridge_tests::scene::{CONNECTION, Plan, Scene};
use deskbridge_tests::server::Deskbridge;

/// The values printed under a heading, by name.
fn fields<'a>(out: &'a str, heading: &str) -> Result<Vec<(&'a str, &'a str)>> {
    let (_, rest) = out.split_once(heading).with_context(|| format!("{heading} is not in:\n{out}"))?;
    let lines = rest.lines().skip(1).take_while(|line| line.starts_with("  "));
    Ok(lines.filter_map(|line| line.trim_start().split_once("  ")).map(|(name, value)| (name.trim(), value.trim())).collect())
}

fn value<'a>(fields: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

#[tokio::test]
async fn the_live_links_and_the_custom_link_of_an_autotask_connection() -> Result<()> {
    let appliance = SimulatedAppliance::start(Options::default()).await?;
    let autotask = SimulatedAutotask::start(autotask::Options::default()).await?;
    let user = autotask.options().api_user;
    let connection = |name: &str, action: &str, services: &str| {
        format!(
            r#"
            name = "{name}"
            [appliance]
            id = "second"
            host = "support.example.com"
            client_id = "id"
            client_secret = "appliance-secret"
            event_token = "event-secret"
            jump_action = "{action}"
            [autotask]
            username = "{}"
            secret = "{}"
            integration_code = "{}"
            services_url = "{services}"
            "#,
            user.user_name, user.secret, user.integration_code
        )
    };
    let server = Deskbridge::builder()
        .connection_text(&connection("Known", "pinned_client", &autotask.url()))
        .connection_text(&connection("Away", "jump_item", "http://127.0.0.1:1/"))
        .prepare()
        .await?;
    let output = server.command(&["links", "Known"]).await?;
    let out = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{out}");
    let jump = fields(&out, "LiveLink “Bomgar Jump To CI”")?;
    let expected = [
        ("LiveLink Name", "Bomgar Jump To CI"),
        ("Label", "Bomgar Jump To CI"),
        ("Description", "Bomgar Jump To CI"),
        ("Active", "checked"),
        ("Category", "Service Desk"),
        ("LiveLink Application Name", "Bomgar"),
        ("Entity", "Ticket"),
        ("Base URL", "https://support.example.com/api/client_script"),
        (
            "Querystring Values",
            "?type=rep&operation=generate&action=start_pinned_client_session&search_string=<UDF-Device Name (ATG_InstalledProduct)>&session.custom.external_key=<TICKETID>",
        ),
        ("Configuration", "Ticket Details Window - Service Desk, Ticket Grid - Service Desk: both checked"),
    ];
    assert_eq!(jump, expected);
    let key = fields(&out, "LiveLink “Bomgar Session Key”")?;
    assert_eq!(value(&key, "Description"), Some("Generate Bomgar Session Key"));
    let query = "?type=rep&operation=generate&action=generate_session_key&session.custom.external_key=<TICKETID>";
    assert_eq!(value(&key, "Querystring Values"), Some(query));
    let custom = fields(&out, "Custom link")?;
    let link = format!(
        "{}Autotask/AutotaskExtend/ExecuteCommand.aspx?Code=OpenTicketDetail&TicketID=%SESSION.CUSTOM.EXTERNAL_KEY%",
        autotask.web_url()
    );
    assert_eq!(value(&custom, "URL"), Some(link.as_str()));
    let event = format!("{}/ERSPost?appliance=second&token=<event_token>", server.public_url());
    assert_eq!(value(&fields(&out, "Outbound event")?, "URL"), Some(event.as_str()));
    for secret in [user.secret.as_str(), user.integration_code.as_str(), "appliance-secret", "event-secret"] {
        assert!(!out.contains(secret), "{out}");
    }
    assert!(!out.contains("Away"));

    // The simulated appliance understands the link, once Autotask has put its values in.
    let query = query.replace("<TICKETID>", "35754");
    let url = format!("{}/api/client_script{query}", appliance.base_url());
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().build()?;
    let answer = client.get(url).send().await?;
    assert!(answer.status().is_success(), "{}", answer.status());
    assert!(answer.text().await?.contains("35754"));

    // A tenant that cannot be reached leaves a gap, not a failure.
    let output = server.command(&["links", "Away"]).await?;
    let out = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("put your zone's number in place of <#>"));
    assert!(out.contains("https://ww<#>.autotask.net/Autotask/AutotaskExtend/ExecuteCommand.aspx?Code=OpenTicketDetail"), "{out}");
    assert!(out.contains("action=start_jump_item_session&jump.method=pinned&search_string=<UDF-Device Name"), "{out}");
    let output = server.command(&["links", "Nobody"]).await?;
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("there is no connection “Nobody”"));
    Ok(())
}

#[tokio::test]
async fn the_custom_link_of_a_zendesk_connection() -> Result<()> {
    let scene = Scene::prepare(Plan::default()).await?;
    let output = scene.server.command(&["links"]).await?;
    let out = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && out.starts_with(CONNECTION) && !out.contains("LiveLink"), "{out}");
    let link = format!("{}/agent/tickets/%SESSION.CUSTOM.EXTERNAL_KEY%", scene.zendesk.url());
    assert_eq!(value(&fields(&out, "Custom link")?, "URL"), Some(link.as_str()));
    Ok(())
}
