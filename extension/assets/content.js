// On the pages of the configured sites, in every frame, after its parts (content/*.js): which pages it looks at, when, and its own beginning and
// end. Knows nothing of sessions, holds no secret, decides nothing, and believes nothing the page says.

(() => {
  'use strict';

  const api = globalThis.browser ?? globalThis.chrome;
  // The gate: pages whose path cannot be a ticket's cost no more than this test.
  const TICKET_PATH = /\/scp\/tickets\.php$|\/ticket\/display\.html$|\/ticket(?:detail|edit)\.mvc(?:\/|$)/i;
  const NEWER = 'deskbridge:newer';
  const CHECK_EVERY = 3_000;
  const PATIENCE = 2_000;
  const { acts, all, collect, mount } = globalThis.deskbridge;

  // Put in twice, into the same world: the first goes on, and looks again, since what is set may have changed.
  if (globalThis.deskbridge.isAlive?.()) return globalThis.deskbridge.lookAgain();
  if (isFramedByOthers()) return;

  const lifetime = new AbortController();
  const { signal } = lifetime;
  let looked = { url: '', look: null };
  let lastSeen = '';
  let mounted = null;
  let observer = null;
  let timer = 0;
  let isBusy = false;
  let isDue = false;

  /** A page of another origin around ours could lay itself over the panel. */
  function isFramedByOthers() {
    if (location.ancestorOrigins) return [...location.ancestorOrigins].some((origin) => origin !== location.origin);
    try {
      for (let inner = window; inner !== top; inner = inner.parent) {
        if (inner.parent.location.origin !== location.origin) return true;
      }
      return false;
    } catch {
      return true; // Another origin's address is not for us to read.
    }
  }

  // An extension that was updated leaves its scripts behind with a dead bridge (autotask-extension.md e.3).
  const isAlive = () => !signal.aborted && Boolean(api.runtime?.id);

  /** Null is an answer, too; a background that failed or died gives none. */
  async function ask(message) {
    const reply = await api.runtime.sendMessage(message);
    if (reply === undefined || reply?.error) throw new Error(reply?.error ?? 'no answer');
    return reply;
  }

  function retire() {
    if (signal.aborted) return;
    unmount();
    ignore();
    lifetime.abort();
  }

  /** First paint, navigation and re-rendering take this one way. */
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
      // Nothing of it was kept: the next look asks again.
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
    watch();
    if (looked.url !== url) looked = { url, look: await ask({ type: 'look', url, title: document.title }) };
    if (!looked.look) return leave();
    const snapshot = collect(looked.look.queries);
    const seen = JSON.stringify([url, document.title, snapshot]);
    if (seen === lastSeen && (!mounted || mounted.isInPlace())) return;
    const background = getComputedStyle(document.body).backgroundColor;
    const plan = await ask({ type: 'plan', url, title: document.title, site: looked.look.site, snapshot, background });
    lastSeen = seen;
    if (location.href !== url) return;
    if (plan) carryOut(plan, url);
    else if (!isPassing(url)) leave();
  }

  function carryOut(plan, url) {
    if (mounted?.key === plan.key && mounted.isInPlace()) {
      mounted.lostAt = null;
      return;
    }
    const containers = all(plan.mount.container);
    // A toolbar that is drawn again takes its button along, not the panel somebody works with.
    const kept = mounted?.key === plan.key && containers.length === 1 ? mounted.takePanel() : null;
    unmount(kept?.host);
    if (containers.length === 1) mounted = { ...mount(plan, containers[0], kept, ask), url, lostAt: null };
  }

  function unmount(kept = null) {
    mounted?.remove();
    mounted = null;
    // What an instance before us left behind.
    for (const stray of document.querySelectorAll('[data-deskbridge]')) if (stray !== kept) stray.remove();
  }

  /** A page that draws itself anew is without its toolbar for a moment; a panel somebody works with waits for it. */
  function isPassing(url) {
    if (!mounted?.isOpen() || mounted.url !== url) return false;
    mounted.lostAt ??= Date.now();
    return Date.now() - mounted.lostAt < PATIENCE;
  }

  function leave() {
    if (mounted) ask({ type: 'leave' }).catch(() => undefined);
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

  function hear(message, sender, reply) {
    if (sender.id !== api.runtime.id || !mounted || !isAlive()) return false;
    if (message.type === 'open') {
      mounted.toggle();
      reply(true);
      return false;
    }
    if (message.key !== mounted.key || !Object.hasOwn(acts, message.type)) return false;
    Promise.resolve(acts[message.type](message)).then(reply);
    return true;
  }

  Object.assign(globalThis.deskbridge, {
    isAlive,
    lookAgain() {
      looked = { url: '', look: null };
      lastSeen = '';
      check();
    },
  });
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
