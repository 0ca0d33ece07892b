// On the pages of the configured sites: what the background asks for on the panel's behalf, done as the agent's own page would.

(() => {
  'use strict';

  const { all } = globalThis.deskbridge;
  const EXCERPT = 4_000;
  // osTicket may send its mail before it answers a post.
  const PATIENCE = { GET: 20_000, POST: 60_000 };

  // As long may a page's tab take to show its form.
  const TAB_PATIENCE = 2_000;

  /** Waits a while for what `look` answers. */
  async function soon(look) {
    const until = performance.now() + TAB_PATIENCE;
    let seen = look();
    while (!seen && performance.now() < until) {
      await new Promise((done) => setTimeout(done, 16));
      seen = look();
    }
    return seen;
  }

  async function insert({ selectors, tab, text }) {
    const shown = () => selectors.flatMap(all).find((node) => node.getClientRects().length > 0);
    let field = shown();
    const opener = field || !tab ? null : all(tab)[0];
    if (opener) {
      opener.click();
      field = await soon(shown);
    }
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

  const mergedInto = () => all('#pjax-container .thread-event a[href^="tickets.php?id="]').at(-1)?.textContent ?? null;

  /** A lock for the agent's own forms, whose lock went with the note: what they are writing can still be sent. */
  function lock({ id, code }) {
    for (const form of all('#response_options form[data-lock-object-id]')) {
      const input = form.querySelector('input[name=lockCode]');
      if (!input?.value) continue;
      input.value = code;
      form.dataset.lockId = id;
    }
    return {};
  }

  /** How osTicket's page stands. */
  const note = () => ({
    basePath: location.pathname.replace(/[^/]*$/, ''),
    csrfToken: document.querySelector('meta[name=csrf_token]')?.content ?? '',
    // Off in osTicket's settings: the form is a plain text area, and what it takes is plain text.
    richText: document.querySelector('#internal_note')?.matches('.richtext') ?? true,
    // A ticket that was merged into another has no form for notes; an event of its thread names the other.
    mergedInto: document.querySelector('#pjax-container form#note') ? null : mergedInto(),
    // Filled in one of the forms while the agent writes: then they hold the lock.
    lockCode: all('#response_options input[name=lockCode]').map((input) => input.value).find(Boolean) ?? null,
  });

  /** Which of the texts an answer holds: anywhere in its source, or in what certain elements show. */
  function found(find, source) {
    const page = find.some(({ within }) => within) ? new DOMParser().parseFromString(source, 'text/html') : null;
    return find.map(({ text, within }) =>
      within ? [...page.querySelectorAll(within)].some((node) => node.textContent.includes(text)) : source.includes(text),
    );
  }

  /** A request of a note's (src/site/osticket_note.rs), in the agent's own session. */
  async function send({ request: { method, path, headers, body, find, after, until } }) {
    const url = new URL(path, location.origin);
    if (url.origin !== location.origin) return { kind: 'lost' };
    if (after > 0) await new Promise((done) => setTimeout(done, after));
    // A tab may have slept since the background looked at the clock.
    if (until !== null && Date.now() > until) return { kind: 'tooLate' };
    const signal = AbortSignal.timeout(PATIENCE[method]);
    const options = { method, headers, body, signal, redirect: 'manual', cache: 'no-store', credentials: 'same-origin' };
    try {
      const response = await fetch(url, options);
      if (response.type === 'opaqueredirect') return { kind: 'hiddenRedirect' };
      const text = await response.text();
      const { status, redirected } = response;
      return { kind: 'answer', status, redirected, location: null, body: text.slice(0, EXCERPT), found: found(find, text) };
    } catch {
      return { kind: 'lost' };
    }
  }

  globalThis.deskbridge = { ...globalThis.deskbridge, acts: { insert, note, lock, fetch: send } };
})();
