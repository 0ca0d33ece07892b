// On the pages of the configured sites: the panel's frame, below its button over the page, or in its card. The page's scripts reach neither the
// frame nor its address, nor what the panel says to us.

(() => {
  'use strict';

  const api = globalThis.browser ?? globalThis.chrome;
  const EXTENSION = api.runtime.getURL('').replace(/\/$/, '');
  const HEIGHT = { least: 80, most: 4_000 };
  // Around the panel in its frame (extension.css).
  const PADDING = 16;
  const STYLES = `
    :host { all: initial; display: block; }
    :host([data-deskbridge-panel="floating"]) { position: fixed; z-index: 2147483000; right: 16px; width: min(380px, calc(100vw - 32px)); }
    iframe { display: block; width: 100%; height: 160px; border: 0; color-scheme: auto; }
    :host([data-deskbridge-panel="floating"]) iframe { max-height: calc(100vh - var(--top) - 16px); border-radius: 8px;
      box-shadow: 0 0 0 1px rgb(0 0 0 / 0.12), 0 8px 28px rgb(0 0 0 / 0.28); }
    :host([data-deskbridge-badge]) { display: inline-block; width: 9px; height: 9px; margin-left: 4px; border-radius: 50%; vertical-align: middle;
      background: #1f73b7; box-shadow: 0 0 0 1px #fff; }
    :host([data-deskbridge-badge="due"]) { background: #c72a1c; }
    .opener { box-sizing: border-box; width: 100%; min-height: 32px; padding: 6px 12px; border: 1px solid #1f73b7; border-radius: 4px; background: #fff;
      color: #1f73b7; font: 600 13px/18px system-ui, sans-serif; cursor: pointer; }
    .opener:hover { background: #edf7ff; }
    .opener[aria-expanded="true"] { border-color: #848f99; color: #5c6970; font-weight: 400; }
    .opener:focus-visible { outline: 2px solid #1f73b7; outline-offset: 2px; }`;

  /** Puts a node, or nothing but the styles, where the page's styles do not reach it, nor its scripts. */
  function enclose(host, ...nodes) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
    const root = host.attachShadow({ mode: 'closed' });
    root.adoptedStyleSheets = [sheet];
    root.append(...nodes);
  }

  /** Whether Escape on the page means the panel: not what the page uses itself, what is open over it, or what ends the input of a character. */
  const isOurs = ({ isTrusted, key, defaultPrevented, isComposing }) =>
    isTrusted && key === 'Escape' && !defaultPrevented && !isComposing && !document.querySelector(':modal, :popover-open');

  /**
   * A panel for that mount: in the card's `slot`, or over the page below `opener`, wherever the page scrolls it. `onClose` is called when the
   * panel is to be closed, `onSessions` with what its ticket's sessions come to.
   */
  function openFrame({ key, label, mount, slot, opener }) {
    const frame = Object.assign(document.createElement('iframe'), { title: label, allow: 'clipboard-write' });
    frame.src = api.runtime.getURL(`panel.html#${mount}`);
    const host = document.createElement('div');
    host.dataset.deskbridge = key;
    host.dataset.deskbridgePanel = slot ? 'card' : 'floating';
    enclose(host, frame);
    const lifetime = new AbortController();
    const { signal } = lifetime;
    const panel = {
      host,
      opener,
      sessions: null,
      onClose: null,
      onSessions: null,
      place() {},
      remove() {
        lifetime.abort();
        host.remove();
      },
    };
    let isPlacing = false;
    let isNew = true;
    function place() {
      isPlacing = false;
      const top = Math.max(8, Math.min(panel.opener.getBoundingClientRect().bottom + 6, innerHeight / 2));
      host.style.setProperty('top', `${top}px`);
      host.style.setProperty('--top', `${top}px`);
    }
    function placeSoon() {
      if (!isPlacing) requestAnimationFrame(place);
      isPlacing = true;
    }
    if (!slot) {
      place();
      panel.place = place;
      addEventListener('scroll', placeSoon, { capture: true, passive: true, signal });
      addEventListener('resize', placeSoon, { signal });
      addEventListener('keydown', (event) => isOurs(event) && panel.onClose?.(false), { signal });
    }
    frame.addEventListener('load', () => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => {
        if (data?.close) panel.onClose?.(true);
        if (data?.reload) location.reload();
        if (data?.sessions) {
          panel.sessions = data.sessions;
          panel.onSessions?.(data.sessions);
        }
        if (Number.isFinite(data?.height)) {
          frame.style.height = `${Math.min(Math.max(data.height + PADDING, HEIGHT.least), HEIGHT.most)}px`;
        }
      };
      // To a page of the extension, or to nobody.
      frame.contentWindow.postMessage('deskbridge', EXTENSION, [port2]);
      // Not when the panel loads itself again: the agent may be at work on the page.
      if (isNew) frame.focus();
      isNew = false;
    });
    (slot ?? document.body).append(host);
    return panel;
  }

  globalThis.deskbridge = { ...globalThis.deskbridge, enclose, openFrame };
})();
