//! What a connection offers its agents: its own `[connection.panel]`, what the help desk's administrator allows, and what the
//! remote-support system can do.

pub use deskbridge_help_desks::allowed_actions::AllowedActions;

use deskbridge_help_desks::HelpDeskError;

use crate::connections::Connection;

/// What `connection` offers now.
pub async fn current(connection: &Connection) -> Result<AllowedActions, HelpDeskError> {
    let Some(engine) = &connection.engine else { return Ok(AllowedActions::default()) };
    let abilities = engine.abilities();
    let mut allowed = AllowedActions::combine(&connection.settings.panel, connection.help_desk.panel_policy().await?.as_ref());
    allowed.methods.retain(|method| abilities.jump_methods.contains(method));
    if !abilities.chats {
        allowed.issues.clear();
    }
    Ok(allowed)
}
