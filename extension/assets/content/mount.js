// On the pages of the configured sites: puts in the button or the card that a plan names (src/site/mod.rs), opens and closes its panel, and takes
// everything out again.

(() => {
  'use strict';

  const { enclose, openFrame } = globalThis.deskbridge;
  // The sessions are asked for as often as the background says, in seconds; where it says nothing, and so nothing can be asked, now and then.
  const ASK_AGAIN = 60;
  const PLACES = { append: 'beforeend', prepend: 'afterbegin', before: 'beforebegin', after: 'afterend' };

  function nest(outer, classes) {
    let inner = outer;
    for (const className of classes) {
      const next = Object.assign(document.createElement('div'), { className });
      inner.append(next);
      inner = next;
    }
    return inner;
  }

  /** One element that looks like the site's own button. */
  function button({ tag, classes, attributes, iconClasses }, labels) {
    const mark = Object.assign(document.createElement(tag), { className: classes, title: labels.title });
    for (const [name, value] of Object.entries(attributes)) mark.setAttribute(name, value);
    mark.setAttribute('aria-label', labels.title);
    mark.append(Object.assign(document.createElement('i'), { className: iconClasses }));
    return { mark, opener: mark, slot: null };
  }

  /** A card like the site's own, with a button of ours inside and room for the panel below. */
  function card({ shellClass, titleClasses, contentClasses }, labels) {
    const mark = Object.assign(document.createElement('div'), { className: shellClass });
    nest(mark, titleClasses).textContent = labels.title;
    const slot = nest(mark, contentClasses);
    const host = document.createElement('div');
    const opener = Object.assign(document.createElement('button'), { type: 'button', className: 'opener' });
    enclose(host, opener);
    slot.append(host);
    return { mark, opener, slot };
  }

  /** `kept`: the open panel of a button that was drawn over. `ask`: asks the background. */
  function mount({ key, labels, mount: { position, form } }, container, kept, ask) {
    const { mark, opener, slot } = form.kind === 'button' ? button(form, labels) : card(form, labels);
    mark.dataset.deskbridge = key;
    const badge = document.createElement('span');
    enclose(badge);
    const lifetime = new AbortController();
    let panel = null;
    let sessions = { isOpen: false, hasReport: false };
    let timer = 0;
    let again = ASK_AGAIN;
    let asked = 0;
    let isGone = false;

    function show(next) {
      panel = next;
      if (panel) {
        Object.assign(panel, { opener, onClose: close, onSessions: tell });
        sessions = panel.sessions ?? sessions;
      }
      opener.setAttribute('aria-expanded', String(Boolean(panel)));
      name();
    }

    /** What the ticket's sessions come to, on the button and in its name. */
    function tell(told) {
      sessions = told;
      name();
    }

    function name() {
      const state = sessions.hasReport ? 'due' : sessions.isOpen ? 'open' : null;
      const added = state ? `${labels.title} (${labels[state]})` : labels.title;
      if (slot) opener.textContent = panel ? labels.hide : state ? `${labels.show} (${labels[state]})` : labels.show;
      else Object.assign(opener, { title: added, ariaLabel: added });
      if (!state) return badge.remove();
      badge.dataset.deskbridgeBadge = state;
      if (!slot) opener.append(badge);
    }

    /** An open panel tells by itself; a page nobody sees does not ask. */
    async function askForSessions() {
      clearTimeout(timer);
      if (isGone) return;
      if (!panel && !document.hidden) {
        asked += 1;
        const own = asked;
        const told = await ask({ type: 'sessions', key }).catch(() => null);
        // A later question has the later answer.
        if (isGone || own !== asked) return;
        again = told?.every ?? again;
        if (told && !panel) tell(told);
      }
      askLater();
    }

    function askLater() {
      clearTimeout(timer);
      timer = setTimeout(askForSessions, again * 1_000);
    }

    async function open() {
      const reply = await ask({ type: 'mount', key });
      // Meanwhile the page may have gone on, or a second press have been quicker.
      if (!reply || isGone || panel) return;
      show(openFrame({ key, label: labels.title, mount: reply.mount, slot, opener }));
    }

    function close(withFocus) {
      panel?.remove();
      show(null);
      if (withFocus) opener.focus();
      // What the panel told last holds for now.
      askLater();
    }

    // Where the background does not answer, the next press asks again.
    const toggle = () => (panel ? close(true) : open().catch(() => undefined));
    const press = (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (event.isTrusted) toggle();
    };
    opener.addEventListener('click', press);
    // What is no button does not hear the space bar.
    if (opener.localName !== 'button') opener.addEventListener('keydown', (event) => event.key === ' ' && press(event));
    show(kept);
    document.addEventListener('visibilitychange', askForSessions, { signal: lifetime.signal });
    askForSessions();
    container.insertAdjacentElement(PLACES[position], mark);
    panel?.place();
    const parent = mark.parentElement;

    return {
      key,
      toggle,
      isOpen: () => Boolean(panel),
      isInPlace: () => mark.isConnected && mark.parentElement === parent,
      /** Gives the open panel away; one in a card goes with its card. */
      takePanel() {
        const taken = slot ? null : panel;
        if (taken) panel = null;
        return taken;
      },
      remove() {
        isGone = true;
        clearTimeout(timer);
        lifetime.abort();
        panel?.remove();
        mark.remove();
      },
    };
  }

  globalThis.deskbridge = { ...globalThis.deskbridge, mount };
})();
