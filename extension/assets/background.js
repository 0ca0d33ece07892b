// The background: a service worker in Chromium, an event page in Firefox. Hands each message to the wasm module's router with all there is to
// know, keeps what it remembers, and does what it says. Listeners stand before anything is awaited, or a worker that is woken misses the event.

import './bridge.js';
import { managed } from './bridge.js';
import init, { beginNote, continueNote, enrol, patterns, randomId, route, sessionsSummary, withoutTab } from './core.js';

const api = globalThis.browser ?? globalThis.chrome;
const REGISTERED = 'deskbridge-sites';
// In this order: each takes what it needs from those before it.
const PAGE_SCRIPTS = ['content/collect.js', 'content/frame.js', 'content/mount.js', 'content/acts.js', 'content.js'];
const NOTE_REQUESTS = 14;
const MOST_LOCKS = 50;
const MINUTE = 60_000;
const MOST_TICKETS = 20;

// A page that has taken a content script over reads nothing of ours. Firefox knows no such setting.
for (const area of [api.storage.local, api.storage.session]) area.setAccessLevel?.({ accessLevel: 'TRUSTED_CONTEXTS' });

const ready = init({ module_or_path: api.runtime.getURL('core_bg.wasm') });
// One message at a time: each reads the memory and may change it.
let last = ready;
const inTurn = (work) => {
  const next = last.then(work);
  last = next.catch(() => undefined);
  return next;
};

const known = async () => ({ ...(await api.storage.local.get(['stored', 'paired'])), managed: await managed() });
const remembered = async () => (await api.storage.session.get('memory')).memory ?? {};

const answer = (message, sender) =>
  inTurn(async () => {
    const question = {
      message,
      sender: {
        id: sender.id,
        url: sender.url ?? '',
        origin: sender.origin ?? new URL(sender.url ?? 'about:blank').origin,
        tab: sender.tab?.id ?? null,
        frame: sender.frameId ?? null,
        document: sender.documentId ?? null,
      },
      extension: { id: api.runtime.id, origin: api.runtime.getURL('').replace(/\/$/, '') },
      ...(await known()),
      memory: await remembered(),
      language: navigator.language,
      random: randomId(),
    };
    const outcome = JSON.parse(route(JSON.stringify(question)));
    if (outcome.memory) await api.storage.session.set({ memory: outcome.memory });
    return outcome;
  });

const tell = ({ tab, frame }, message) => api.tabs.sendMessage(tab, message, { frameId: frame });

/** osTicket's locks that notes have left, by site and ticket (src/site/osticket_note.rs): each outlives notes on other tickets. */
const locksLeft = async () => (await api.storage.session.get('locks')).locks ?? {};
const keepLock = (name, lock) =>
  inTurn(async () => {
    const locks = Object.entries({ ...(await locksLeft()), [name]: lock }).filter(([, held]) => held?.until > Date.now());
    await api.storage.session.set({ locks: Object.fromEntries(locks.slice(-MOST_LOCKS)) });
  });

/** A note in the agent's own session: the page says how it stands, and sends what the step machine says. Null: nothing was sent. */
async function writeNote(to, { key, ticket, note }, name) {
  const page = await tell(to, { type: 'note', key }).catch(() => null);
  if (!page) return null;
  const lockLeft = (await locksLeft())[name] ?? null;
  const task = { ...page, ...note, ticket, now: Date.now(), lockLeft, alreadyThere: false };
  const begun = JSON.parse(beginNote(JSON.stringify(task)));
  if (!begun) return null;
  let { posting, step } = begun;
  for (let sent = 0; step.step === 'request' && sent < NOTE_REQUESTS; sent += 1) {
    const response = (await tell(to, { type: 'fetch', key, request: step }).catch(() => null)) ?? { kind: 'lost' };
    ({ posting, step } = JSON.parse(continueNote(JSON.stringify({ posting, response, now: Date.now() }))));
  }
  await keepLock(name, posting.lock);
  if (posting.pageLock) await tell(to, { type: 'lock', key, ...posting.pageLock }).catch(() => undefined);
  return step;
}

/** What was asked for in the last minute, by connection and ticket. */
const recentSessions = async () => {
  const asked = Object.entries((await api.storage.session.get('sessions')).sessions ?? {});
  return Object.fromEntries(asked.filter(([, { at }]) => Date.now() - at < MINUTE));
};

/**
 * What a ticket's sessions come to. A page may ask as often as it likes, and for whatever ticket if somebody has taken it over: the server is asked
 * for each ticket no sooner than `least` seconds after the last time, and for few tickets in a minute.
 */
async function sessions(asked) {
  const name = `${asked.connection} ${asked.ticket}`;
  const keep = async (told) => {
    const recent = await recentSessions();
    await api.storage.session.set({ sessions: { ...recent, [name]: { at: Date.now(), told } } });
  };
  const last = await inTurn(async () => {
    const recent = await recentSessions();
    const wait = recent[name] ? recent[name].at + asked.least * 1_000 - Date.now() : 0;
    const { told } = recent[name] ?? { told: null };
    if (wait > 0) return { told: told && { ...told, every: Math.ceil(wait / 1_000) } };
    if (!recent[name] && Object.keys(recent).length >= MOST_TICKETS) return { told: null };
    await keep(told);
    return null;
  });
  if (last) return last.told;
  const told = JSON.parse(await sessionsSummary(JSON.stringify(asked)));
  await inTurn(() => keep(told));
  return told;
}

async function handle(message, sender) {
  const { reply, forward, sessionsOf, opensSettings } = await answer(message, sender);
  if (opensSettings) await api.runtime.openOptionsPage();
  if (sessionsOf) return sessions(sessionsOf);
  if (!forward) return reply;
  const { message: told } = forward;
  if (told.type !== 'note') return tell(forward, told);
  const name = `${told.site} ${told.key}`;
  // One note on a ticket at a time: two tabs of the same agent share osTicket's lock, so that it keeps neither waiting.
  return navigator.locks.request(`note ${name}`, () => writeNote(forward, told, name));
}

api.runtime.onMessage.addListener((message, sender, reply) => {
  handle(message, sender).then(reply, (error) => reply({ error: String(error) }));
  return true;
});

api.tabs.onRemoved.addListener((tab) =>
  inTurn(async () => {
    const memory = JSON.parse(withoutTab(JSON.stringify(await remembered()), tab));
    await api.storage.session.set({ memory });
  }),
);

/** The content script runs on the sites that are set, and on no other. */
const register = () =>
  inTurn(async () => {
    const { stored, managed } = await known();
    const { origins } = await api.permissions.getAll();
    const hosts = await Promise.all(
      JSON.parse(patterns(JSON.stringify(stored ?? {}), JSON.stringify(managed))).map(async (pattern) => {
        const origin = pattern.replace(/(:\/\/[^/]*\/).*/, '$1*');
        return (origins.includes(origin) || (await api.permissions.contains({ origins: [origin] }))) && pattern;
      }),
    );
    const matches = hosts.filter(Boolean);
    await api.scripting.unregisterContentScripts({ ids: [REGISTERED] }).catch(() => undefined);
    if (matches.length > 0) {
      const script = { id: REGISTERED, matches, js: PAGE_SCRIPTS, allFrames: true, runAt: 'document_idle', persistAcrossSessions: true };
      await api.scripting.registerContentScripts([script]);
    }
    return matches;
  });

/** Pages that are open already get the script too: their old one died with the old extension, or they were opened before it. */
async function enter(matches) {
  const tabs = matches.length > 0 ? await api.tabs.query({ url: matches }) : [];
  await Promise.allSettled(tabs.map(({ id }) => api.scripting.executeScript({ target: { tabId: id, allFrames: true }, files: PAGE_SCRIPTS })));
}

const pairByPolicy = () => ready.then(enrol);

const openPanel = async (tab) => {
  const told = tab?.id && (await api.tabs.sendMessage(tab.id, { type: 'open' }).catch(() => false));
  // Nothing to open there; the settings say what is missing.
  if (!told && !(await known()).paired) await api.runtime.openOptionsPage();
};

api.runtime.onInstalled.addListener(() => register().then(enter).then(pairByPolicy));
api.runtime.onStartup.addListener(() => register().then(pairByPolicy));
api.permissions.onAdded.addListener(() => register().then(enter));
api.permissions.onRemoved.addListener(register);
api.storage.onChanged.addListener((changes, area) => {
  if (area === 'managed' || changes.stored) register().then(enter).then(area === 'managed' ? pairByPolicy : undefined);
});
api.commands.onCommand.addListener((command, tab) => command === 'open-panel' && openPanel(tab));
api.action.onClicked.addListener(openPanel);
