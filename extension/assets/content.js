// On the pages of the configured sites, in every frame. Thin: collects what the background asks for, puts in what it plans, takes it out again,
// and holds the panel's frame. Knows nothing of sessions, holds no secret, and believes nothing the page says.

(() => {
  'use strict';

  const api = globalThis.browser ?? globalThis.chrome;
  // The gate: pages whose path cannot be a ticket's cost no more than this test.
  const TICKET_PATH = /\/scp\/tickets\.php$|\/ticket(?:detail|edit)\.mvc(?:\/|$)/i;
  const NEWER = 'deskbridge:newer';
  const CHECK_EVERY = 3_000;
  const PATIENCE = 2_000;
  const TEXT = 500;
  const HEIGHT = { least: 80, most: 4_000 };
  // Around the panel in its frame (extension.css).
  const PADDING = 16;
  const EXTENSION = api.runtime.getURL('').replace(/\/$/, '');

  // Put in twice, into the same world: the first goes on, and looks again, since what is set may have changed.
  if (globalThis.deskbridge?.isAlive()) {
    globalThis.deskbridge.lookAgain();
    return;
  }

  const lifetime = new AbortController();
  const { signal } = lifetime;
  let looked = { url: '', look: null };
  let lastSeen = '';
  let mounted = null;
  let observer = null;
  let timer = 0;
  let isBusy = false;
  let isDue = false;

  // An extension that was updated leaves its scripts behind with a dead bridge (autotask-extension.md e.3).
  const isAlive = () => !signal.aborted && Boolean(api.runtime?.id);
  const ask = (message) => api.runtime.sendMessage(message);

  function retire() {
    if (signal.aborted) return;
    unmount();
    ignore();
    lifetime.abort();
  }

  /* Collecting */

  const textOf = (node) => (node.textContent ?? '').trim().slice(0, TEXT);

  function all(selector, within = document) {
    try {
      return [...within.querySelectorAll(selector)].filter((node) => !node.closest('[data-deskbridge]'));
    } catch {
      return []; // An administrator's own selector that is none.
    }
  }

  function found(node, query) {
    const attributes = {};
    for (const name of query.attributes) {
      if (node.hasAttribute(name)) attributes[name] = node.getAttribute(name).slice(0, TEXT);
    }
    const parts = {};
    for (const [name, selector] of Object.entries(query.parts ?? {})) {
      const part = node.querySelector(selector);
      if (part) parts[name] = textOf(part);
    }
    return { text: textOf(node), attributes, parts };
  }

  const collect = (queries) =>
    Object.fromEntries(queries.map((query) => [query.name, all(query.selector).slice(0, query.limit).map((node) => found(node, query))]));

  /* First paint, navigation and re-rendering take this one way. */

  async function check() {
    if (!isAlive()) return retire();
    isDue = true;
    if (isBusy) return;
    isBusy = true;
    try {
      while (isDue && isAlive()) {
        isDue = false;
        await look();
      }
    } catch {
      if (!isAlive()) retire();
    } finally {
      isBusy = false;
    }
  }

  async function look() {
    const url = location.href;
    if (!TICKET_PATH.test(location.pathname)) {
      looked = { url: '', look: null };
      return leave();
    }
    if (looked.url !== url) looked = { url, look: await ask({ type: 'look', url, title: document.title }) };
    if (!looked.look) return leave();
    watch();
    const snapshot = collect(looked.look.queries);
    const seen = JSON.stringify([url, document.title, snapshot]);
    if (seen === lastSeen && (!mounted || mounted.isInPlace())) return;
    const background = getComputedStyle(document.body).backgroundColor;
    const plan = await ask({ type: 'plan', url, title: document.title, site: looked.look.site, snapshot, background });
    lastSeen = seen;
    if (location.href !== url) return;
    if (plan) mount(plan, url);
    else if (!isPassing(url)) leave();
  }

  /** A page that draws itself anew is without its toolbar for a moment; a panel somebody works with waits for it. */
  function isPassing(url) {
    if (!mounted?.isOpen() || mounted.url !== url) return false;
    mounted.lostAt ??= Date.now();
    return Date.now() - mounted.lostAt < PATIENCE;
  }

  function leave() {
    if (mounted) ask({ type: 'leave' });
    unmount();
    if (looked.look) return;
    ignore();
    lastSeen = '';
  }

  /** Only ticket pages are watched. */
  function watch() {
    if (observer) return;
    let isAsked = false;
    observer = new MutationObserver(() => {
      if (isAsked) return;
      isAsked = true;
      // A hidden tab draws no frames; the slow check sees to it.
      requestAnimationFrame(() => {
        isAsked = false;
        check();
      });
    });
    observer.observe(document.documentElement, { childList: true, subtree: true });
    timer = setInterval(check, CHECK_EVERY);
  }

  function ignore() {
    observer?.disconnect();
    observer = null;
    clearInterval(timer);
  }

  /* The mount */

  function mount(plan, url) {
    const containers = all(plan.mount.container);
    if (mounted?.key === plan.key && mounted.isInPlace()) {
      mounted.lostAt = null;
      return;
    }
    // A toolbar that is drawn again takes its button along, not the panel somebody works with.
    const kept = mounted?.key === plan.key && mounted.isFloating && containers.length === 1 ? mounted.takePanel() : null;
    unmount(kept?.host);
    if (containers.length === 1) mounted = { ...build(plan, containers[0], kept), url, lostAt: null };
  }

  function unmount(kept = null) {
    mounted?.remove();
    mounted = null;
    // What an instance before us left behind.
    for (const stray of document.querySelectorAll('[data-deskbridge]')) if (stray !== kept) stray.remove();
  }

  function build({ key, labels, mount: { position, form } }, container, kept) {
    const life = new AbortController();
    const until = AbortSignal.any([signal, life.signal]);
    const isFloating = form.kind === 'button';
    const mark = document.createElement(isFloating ? form.tag : 'div');
    mark.dataset.deskbridge = key;
    const place = { append: 'beforeend', prepend: 'afterbegin', before: 'beforebegin', after: 'afterend' }[position];
    const parent = position === 'append' || position === 'prepend' ? container : container.parentElement;

    let opener = mark;
    let slot = null;
    if (isFloating) {
      mark.className = form.classes;
      for (const [name, value] of Object.entries(form.attributes)) mark.setAttribute(name, value);
      mark.append(Object.assign(document.createElement('i'), { className: form.iconClasses }));
      mark.title = labels.title;
      mark.setAttribute('aria-label', labels.title);
    } else {
      mark.className = form.shellClass;
      nest(mark, form.titleClasses).textContent = labels.title;
      slot = nest(mark, form.contentClasses);
      const host = document.createElement('div');
      const shadow = host.attachShadow({ mode: 'open' });
      shadow.adoptedStyleSheets = [styles()];
      opener = Object.assign(document.createElement('button'), { type: 'button', className: 'opener' });
      shadow.append(opener);
      slot.append(host);
    }
    const setOpen = (isOpen) => {
      opener.setAttribute('aria-expanded', String(isOpen));
      if (!isFloating) opener.textContent = isOpen ? labels.hide : labels.show;
    };
    setOpen(Boolean(kept));

    const view = panel({ key, label: labels.title, opener, setOpen, slot, until }, kept);
    const press = (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (event.isTrusted) view.toggle();
    };
    opener.addEventListener('click', press, { signal: until });
    // What is no button does not hear the space bar.
    const isSpace = (event) => event.key === ' ' && opener.localName !== 'button';
    opener.addEventListener('keydown', (event) => isSpace(event) && press(event), { signal: until });
    container.insertAdjacentElement(place, mark);

    return {
      key,
      isFloating,
      toggle: view.toggle,
      isOpen: view.isOpen,
      takePanel: view.take,
      isInPlace: () => mark.isConnected && mark.parentElement === parent,
      remove() {
        view.close(false);
        life.abort();
        mark.remove();
      },
    };
  }

  function nest(outer, classes) {
    let inner = outer;
    for (const name of classes) {
      const next = Object.assign(document.createElement('div'), { className: name });
      inner.append(next);
      inner = next;
    }
    return inner;
  }

  function styles() {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`
      :host { all: initial; display: block; }
      :host([data-deskbridge-panel="floating"]) { position: fixed; z-index: 2147483000; right: 16px; width: min(380px, calc(100vw - 32px)); }
      iframe { display: block; width: 100%; height: 160px; border: 0; color-scheme: auto; }
      :host([data-deskbridge-panel="floating"]) iframe { max-height: calc(100vh - var(--top) - 16px); border-radius: 8px;
        box-shadow: 0 0 0 1px rgb(0 0 0 / 0.12), 0 8px 28px rgb(0 0 0 / 0.28); }
      .opener { box-sizing: border-box; width: 100%; min-height: 32px; padding: 6px 12px; border: 1px solid #1f73b7; border-radius: 4px; background: #fff;
        color: #1f73b7; font: 600 13px/18px system-ui, sans-serif; cursor: pointer; }
      .opener:hover { background: #edf7ff; }
      .opener[aria-expanded="true"] { border-color: #848f99; color: #5c6970; font-weight: 400; }
      .opener:focus-visible { outline: 2px solid #1f73b7; outline-offset: 2px; }`);
    return sheet;
  }

  /* The panel's frame: below the button over the page, or in the card. */

  function panel({ key, label, opener, setOpen, slot, until }, kept) {
    let held = kept;

    async function open() {
      const reply = await ask({ type: 'mount', key });
      if (!reply?.mount || held) return;
      const host = document.createElement('div');
      host.dataset.deskbridge = key;
      host.dataset.deskbridgePanel = slot ? 'card' : 'floating';
      const shadow = host.attachShadow({ mode: 'open' });
      shadow.adoptedStyleSheets = [styles()];
      const frame = document.createElement('iframe');
      frame.title = label;
      frame.allow = 'clipboard-write';
      frame.src = api.runtime.getURL(`panel.html#${reply.mount}`);
      shadow.append(frame);
      held = { host, frame };
      if (!slot) {
        const top = Math.max(8, Math.min(opener.getBoundingClientRect().bottom + 6, innerHeight / 2));
        host.style.setProperty('top', `${top}px`);
        host.style.setProperty('--top', `${top}px`);
      }
      (slot ?? document.body).append(host);
      setOpen(true);
      frame.addEventListener('load', () => frame.focus(), { once: true, signal: until });
    }

    function close(withFocus) {
      if (!held) return;
      held.host.remove();
      held = null;
      setOpen(false);
      if (withFocus) opener.focus();
    }

    addEventListener(
      'message',
      ({ source, origin, data }) => {
        // Its own frame, showing a page of the extension; any window may call itself anything else.
        if (!held || source !== held.frame.contentWindow || origin !== EXTENSION) return;
        if (data?.deskbridge === 'close') close(true);
        if (data?.deskbridge === 'height' && Number.isFinite(data.height)) {
          held.frame.style.height = `${Math.min(Math.max(data.height + PADDING, HEIGHT.least), HEIGHT.most)}px`;
        }
      },
      { signal: until },
    );
    return {
      toggle: () => (held ? close(true) : open()),
      isOpen: () => Boolean(held),
      close,
      take() {
        const taken = held;
        held = null;
        return taken;
      },
    };
  }

  /* What the background asks for on the panel's behalf */

  function insert({ selectors, text }) {
    const field = selectors.flatMap((selector) => all(selector)).find((node) => node.getClientRects().length > 0);
    if (!field) return { inserted: false };
    field.focus();
    if (field.isContentEditable) {
      getSelection().selectAllChildren(field);
      getSelection().collapseToEnd();
    } else {
      field.setSelectionRange(field.value.length, field.value.length);
    }
    // As if typed, so that the page's editor takes notice and the agent can undo it.
    return { inserted: document.execCommand('insertText', false, text) };
  }

  const notePage = () => ({
    basePath: location.pathname.replace(/[^/]*$/, ''),
    csrfToken: document.querySelector('meta[name=csrf_token]')?.content ?? '',
    // Filled while the agent writes: then the lock is held, and asking for it again crashes osTicket.
    lockCode: all('form:is(#note, #reply) input[name=lockCode]').map((input) => input.value).find(Boolean) ?? null,
  });

  async function send({ method, path, headers, body, find }) {
    const url = new URL(path, location.origin);
    if (url.origin !== location.origin) return { kind: 'lost' };
    try {
      const options = { method, headers, body, redirect: 'manual', cache: 'no-store', credentials: 'same-origin' };
      const response = await fetch(url, { ...options, signal: AbortSignal.any([signal, AbortSignal.timeout(20_000)]) });
      if (response.type === 'opaqueredirect') return { kind: 'hiddenRedirect' };
      const text = await response.text();
      const { status, redirected } = response;
      return { kind: 'answer', status, redirected, location: null, body: text.slice(0, 4_000), found: find.map((part) => text.includes(part)) };
    } catch {
      return { kind: 'lost' };
    }
  }

  function hear(message, sender, reply) {
    if (sender.id !== api.runtime.id || !mounted || !isAlive()) return false;
    if (message.type === 'open') {
      mounted.toggle();
      reply(true);
      return false;
    }
    if (message.key !== mounted.key) return false;
    if (message.type === 'insert') reply(insert(message));
    else if (message.type === 'note') reply(notePage());
    else if (message.type === 'fetch') {
      send(message.request).then(reply);
      return true;
    }
    return false;
  }

  /* The beginning */

  globalThis.deskbridge = {
    isAlive,
    lookAgain() {
      looked = { url: '', look: null };
      lastSeen = '';
      check();
    },
  };
  // Whoever was here before retires if his bridge is dead. A page that makes this event up makes us look whether ours is, no more.
  document.dispatchEvent(new CustomEvent(NEWER));
  document.addEventListener(NEWER, () => isAlive() || retire(), { signal });
  api.runtime.onMessage.addListener(hear);
  signal.addEventListener('abort', () => api.runtime?.id && api.runtime.onMessage.removeListener(hear));

  // For the page's own navigations: this one is heard in our world too (autotask-extension.md f.5).
  globalThis.navigation?.addEventListener('currententrychange', check, { signal });
  addEventListener('popstate', check, { signal });
  addEventListener('pageshow', check, { signal });
  check();
})();
