//! Every path of the outside contract, once. The router, the pages, the panel and the tests use these.

/// Zendesk posts the signed token here; the answer is the sidebar page.
pub const ZENDESK_SIDEBAR: &str = "/zendesk/sidebar";
/// Built panel files under hashed, immutable names; followed by `/{file}`.
pub const ASSETS: &str = "/assets";
/// Outbound events of the appliance: the vendor middleware's exact path, so that servers can be swapped.
pub const APPLIANCE_EVENTS: &str = "/ERSPost";
/// A customer's signed chat link; followed by `/{token}`.
pub const CHAT_LINK: &str = "/c";
/// The customer's button, for the Help Center's pages.
pub const HELP_CENTER_BUTTON: &str = "/help-center/button.js";
/// What the button offers.
pub const HELP_CENTER_OFFER: &str = "/help-center/offer";
/// A customer starts a chat; followed by `/{id}`, the customer opens it.
pub const HELP_CENTER_CHATS: &str = "/help-center/chats";
/// How an administrator puts the button into the Help Center; followed by `/{token}`.
pub const HELP_CENTER_CUSTOMIZE: &str = "/help-center/customize";
/// The panel's model: methods allowed, Jumpoints, issues, prefilled target, texts.
pub const PANEL: &str = "/api/v1/panel";
/// Makes a session key.
pub const SESSION_KEY: &str = "/api/v1/sessions/key";
/// Makes what opens a session: the client-script URL of a Jump, or a link to a machine.
pub const JUMP: &str = "/api/v1/sessions/jump";
/// The engine's machines, and the ticket's links to them.
pub const MACHINES: &str = "/api/v1/machines";
/// Ends a link to a machine.
pub const LINK_END: &str = "/api/v1/links/end";
/// Makes a link to a session's recording.
pub const SESSION_RECORDING: &str = "/api/v1/sessions/recording";
/// A session's recording; followed by `/{connection}/{lsid}`.
pub const RECORDINGS: &str = "/recordings";
/// Makes a chat link.
pub const SESSION_CHAT_LINK: &str = "/api/v1/sessions/chat-link";
/// Support sessions of a ticket; server-sent events with `Accept: text/event-stream`.
pub const SESSIONS: &str = "/api/v1/sessions";
/// The report of an ended session, for a page that puts it onto the ticket itself.
pub const SESSION_RECORD: &str = "/api/v1/sessions/record";
/// The page put it there.
pub const SESSION_RECORDED: &str = "/api/v1/sessions/recorded";
/// The page did not put it there: another browser may.
pub const SESSION_RECORD_GIVEN_UP: &str = "/api/v1/sessions/record/given-up";
/// A monitoring system posts an incident; followed by `/{id}`, how far its ticket is.
pub const INCIDENTS: &str = "/api/v1/incidents";
/// Pairs a browser: a one-time code against a public key.
pub const DEVICES: &str = "/api/v1/devices";
/// What a paired browser asks about itself, and how it takes itself away.
pub const DEVICE_SELF: &str = "/api/v1/devices/self";
/// Tells what to do with a pairing link; the code stands behind `#`.
pub const PAIR: &str = "/pair";
/// The process runs.
pub const HEALTHZ: &str = "/healthz";
/// The process can do its work: database reachable, workers running.
pub const READYZ: &str = "/readyz";
/// Figures in Prometheus' text form, on the admin listener.
pub const METRICS: &str = "/metrics";
/// The OpenAPI description of the public listener.
pub const OPENAPI: &str = "/openapi.json";
