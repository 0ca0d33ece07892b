//! The customer's button on a page of the simulated Help Center, as a customer sees and uses it, in any browser.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use serde::Deserialize;
use thirtyfour::{Key, WebElement, WindowHandle};

use crate::page::Page;
use crate::scene::CONNECTION;
use crate::server::{Deskbridge, until};

/// For whatever happens on the page.
const LIMIT: Duration = Duration::from_mins(1);

const HOST: &str = "deskbridge-chat";

/// A theme's script, to stand before the button's: keeps what the button's live region says in `window.said`.
pub const LISTENER: &str = "<script>
  window.said = [];
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function attachShadow(options) {
    const root = attach.call(this, options);
    const listen = () => {
      const text = root.querySelector('[role=status]')?.textContent;
      if (text && said.at(-1) !== text) said.push(text);
    };
    new MutationObserver(listen).observe(root, { childList: true, subtree: true, characterData: true });
    return root;
  };
</script>";

/// A theme's script, to stand before the button's: timers of a minute and more end at once.
pub const HASTE: &str = "<script>
  const timer = window.setTimeout;
  window.setTimeout = (act, time, ...rest) => timer(act, time < 60000 ? time : 200, ...rest);
</script>";

/// A theme's script, to stand before the button's: counts in `window.focused` how often the button brings its window to the front. Without
/// a screen, browsers do not tell which window is there.
pub const FOCUS_COUNTER: &str = "<script>
  window.focused = 0;
  const open = window.open.bind(window);
  window.open = (...what) => new Proxy(open(...what), {
    get: (chat, name) => {
      if (name === 'focus') focused += 1;
      return typeof chat[name] === 'function' ? chat[name].bind(chat) : chat[name];
    },
    set: (chat, name, value) => {
      chat[name] = value;
      return true;
    },
  });
</script>";

/// A theme's script, to stand before the button's: no window is opened, as where the browser blocks pop-ups.
pub const BLOCKER: &str = "<script>window.open = () => null;</script>";

const LOOK: &str = "
  const hosts = document.querySelectorAll('deskbridge-chat');
  const [host] = hosts;
  if (!host || host.hidden) return { count: 0 };
  const root = host.shadowRoot;
  const [select, button, message] = ['select', 'button', '[role=status]'].map((css) => root.querySelector(css));
  const isShown = (element) => element.getClientRects().length > 0;
  return {
    count: hosts.length,
    place: host.matches('.floating') ? 'corner' : host.previousElementSibling?.dataset.ticket ? 'own' : host.nextElementSibling?.localName ?? '',
    button: isShown(button) ? button.textContent : '',
    is_disabled: button.ariaDisabled === 'true',
    issues: isShown(select) ? [...select.options].map((option) => option.text) : [],
    message: isShown(message) ? message.textContent : '',
    focused: root.activeElement?.localName ?? '',
    language: host.lang,
  };";

/// What the customer sees of the button.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// How many there are.
    pub count: usize,
    /// `own`: after the administrator's script; `corner`; else the name of the element behind it.
    pub place: String,
    /// The button's text; empty where there is no button.
    pub button: String,
    /// Whether a press does nothing now.
    pub is_disabled: bool,
    /// The issues to choose from; none where there is no choice.
    pub issues: Vec<String>,
    /// The sentence below, which is announced.
    pub message: String,
    /// Which of its elements has the focus: `button`, `select`, `p`.
    pub focused: String,
    /// Of its texts.
    pub language: String,
}

/// The line for `document_head.hbs`.
pub fn head_line(server: &Deskbridge) -> String {
    format!(
        "<script src=\"{}{}\" data-connection=\"{CONNECTION}\" data-locale=\"{{{{help_center.locale}}}}\" defer></script>",
        server.public_url(),
        routes::HELP_CENTER_BUTTON
    )
}

/// The line for `request_page.hbs`.
pub fn request_line(server: &Deskbridge) -> String {
    head_line(server).replace(" data-locale", " data-ticket=\"{{request.id}}\" data-locale")
}

/// The button on the page that a browser shows.
#[derive(Clone, Copy, Debug)]
pub struct ChatButton<'a>(pub &'a Page);

impl ChatButton<'_> {
    /// As it is now.
    pub async fn look(self) -> Result<Shown> {
        serde_json::from_value(self.0.execute(LOOK, Vec::new()).await?).context("the page tells something else")
    }

    /// Waits until it is as wanted.
    pub async fn until(self, what: &str, wanted: impl Fn(&Shown) -> bool) -> Result<Shown> {
        let reached = until(what, LIMIT, async || Ok(wanted(&self.look().await?))).await;
        let shown = self.look().await?;
        reached.with_context(|| format!("{shown:?}"))?;
        Ok(shown)
    }

    /// Waits until its sentence is this one.
    pub async fn says(self, message: &str) -> Result<Shown> {
        self.until(&format!("it says “{message}”"), |shown| shown.message == message).await
    }

    /// What its live region has said so far; the page needs [`LISTENER`].
    pub async fn said(self) -> Result<Vec<String>> {
        serde_json::from_value(self.0.execute("return window.said", Vec::new()).await?).context("nobody listens")
    }

    /// An element of it.
    pub async fn part(self, css: &str) -> Result<WebElement> {
        self.0.in_shadow_of(&self.0.element(HOST).await?, css).await
    }

    /// Presses it with the mouse.
    pub async fn press(self) -> Result<()> {
        self.part("button").await?.click().await.context("it cannot be pressed")
    }

    /// Keys of the keyboard, for whatever has the focus.
    pub async fn keys(self, keys: impl IntoIterator<Item = Key>) -> Result<()> {
        for key in keys {
            self.0.driver().action_chain().send_keys(key).perform().await?;
        }
        Ok(())
    }

    /// Presses Tab until one of its elements has the focus.
    pub async fn tab_to(self, element: &str) -> Result<()> {
        for _ in 0..30 {
            if self.look().await?.focused == element {
                return Ok(());
            }
            self.keys([Key::Tab]).await?;
        }
        ensure!(self.look().await?.focused == element, "Tab does not lead to its {element}");
        Ok(())
    }

    /// Waits for a window beside these, and goes to it.
    pub async fn enter_window_beside(self, known: &[WindowHandle]) -> Result<WindowHandle> {
        let driver = self.0.driver();
        let new = async || Ok::<_, anyhow::Error>(driver.windows().await?.into_iter().find(|window| !known.contains(window)));
        until("a window is opened", LIMIT, async || Ok(new().await?.is_some())).await?;
        let window = new().await?.context("the window is gone")?;
        driver.switch_to_window(window.clone()).await?;
        Ok(window)
    }

    /// Closes the window that is shown, and goes back to that one.
    pub async fn close_window(self, back: &WindowHandle) -> Result<()> {
        self.0.driver().close_window().await?;
        self.0.driver().switch_to_window(back.clone()).await?;
        Ok(())
    }
}
